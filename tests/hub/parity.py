#!/usr/bin/env python3
"""Whether what `thinkwire-worker pull` leaves in the cache is what huggingface_hub leaves, to the byte, also on a hub's bad
days, and whether either goes on with what the other began. Where huggingface_hub gives up, that is said, and it is run again
on a good day.

Usage: parity.py BUILD_FOLDER [PYTHON]
PYTHON has huggingface_hub: that of deploy/setup.sh --all, or another version's, as by
  python3 -m venv /tmp/hub && /tmp/hub/bin/pip install huggingface_hub==0.36.0
"""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from fake_hub import Fault, Hub

SKIPPED = 77
CACHES = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
PYTHON = sys.argv.pop(2) if len(sys.argv) > 2 else str(CACHES / "thinkwire-hub/bin/python")
# By its own arguments.
from pull_test import BIG, NEEDED, PIECE, WORKER, cache_tree, checkpoint  # noqa: E402

TOTAL = sum(len(data) for path, data in checkpoint().items() if path in NEEDED)
DOWNLOAD = f"""
import huggingface_hub
print(huggingface_hub.__version__, huggingface_hub.snapshot_download("org/model", allow_patterns={sorted(NEEDED)!r}))
"""

# What happens -> the faults, made anew for each of both.
BAD_DAYS = {
    "connections that break": lambda: [Fault(BIG, 2, store=True, cut_after=100_000)],
    "a small file's connection that breaks": lambda: [Fault("config.json", 1, cut_after=3)],
    "a connection that hangs": lambda: [Fault(BIG, 1, store=True, stall_s=4)],
    "429 with Retry-After, of the hub": lambda: [Fault("/api/", 1, status=429, headers={"Retry-After": "1"})],
    "429 with Retry-After, of the store": lambda: [Fault(BIG, 1, store=True, status=429, headers={"Retry-After": "1"})],
    "503 of the hub": lambda: [Fault("/api/", 1, status=503)],
    "503 of a small file": lambda: [Fault("config.json", 1, status=503)],
    "503 of the store": lambda: [Fault(BIG, 1, store=True, status=503)],
    "an address that has run out": lambda: [Fault(BIG, 1, store=True, status=403)],
    "ranges that are ignored": lambda: [Fault(BIG, 1, store=True, cut_after=100_000),
                                        Fault(BIG, 1000, store=True, ignore_range=True)],
    "a length that is none of the file": lambda: [Fault(BIG, 1, store=True, lie_length=5)],
}


def environment(hub, cache):
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "LSAN_OPTIONS")
            if name in os.environ}
    return {**kept, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HOME": str(cache),
            "HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1"}  # plain HTTPS, as we speak it


def theirs(hub, cache):
    return [PYTHON, "-c", DOWNLOAD], environment(hub, cache)


def ours(hub, cache):
    return [WORKER, "pull", f"--piece_bytes={PIECE}", "org/model"], environment(hub, cache)


def attempt(side, hub, cache):
    command, variables = side(hub, cache)
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)


def run(side, hub, cache):
    done = attempt(side, hub, cache)
    if done.returncode != 0:
        sys.exit(f"{side.__name__} failed: {done.stderr}")
    return done.stdout


def kill_midway(side, hub, cache):
    command, variables = side(hub, cache)
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while hub.sent < TOTAL // 2 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def clean(tree):
    """Without what a killed process has left, which has no name that anybody would read."""
    return {name: data for name, data in tree.items() if not re.search(r"\.incomplete|/\.tmp|\.tmp$", name)}


def on_a_bad_day(side, faults, cache):
    """What it said where it gave up, and left to a better day."""
    with Hub(checkpoint()) as hub:
        hub.faults = faults
        done = attempt(side, hub, cache)
        if done.returncode == 0:
            return ""
        hub.faults = []
        run(side, hub, cache)
        return done.stderr.strip().splitlines()[-1]


def compare_on_bad_days(folder, expected):
    for number, (what, faults) in enumerate(BAD_DAYS.items()):
        for side in (theirs, ours):
            cache = folder / f"{side.__name__}-{number}"
            gave_up = on_a_bad_day(side, faults(), cache)
            assert clean(cache_tree(cache)) == expected, f"{what}: {side.__name__} leaves another cache"
            if gave_up:
                print(f"{what}: {side.__name__} gives up: {gave_up}")
            assert side is theirs or not gave_up, f"{what}: we give up"
        print(f"{what}: same cache")


def main():
    if not pathlib.Path(PYTHON).exists():
        print("skipped: without huggingface_hub (deploy/setup.sh --all)")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with Hub(checkpoint()) as hub:
            print(run(theirs, hub, folder / "theirs").split()[0])
            run(ours, hub, folder / "ours")
            expected = cache_tree(folder / "theirs")
            assert expected and cache_tree(folder / "ours") == expected, "the caches differ"
            print(f"same cache: {len(expected)} blobs, refs and links")
            sent = hub.sent
            run(ours, hub, folder / "theirs")
            run(theirs, hub, folder / "ours")
            assert hub.sent == sent, "what the other had finished was asked for again"
            print("either takes what the other has finished")
        with Hub(checkpoint(), xet=True) as hub:
            for side in (theirs, ours):
                run(side, hub, folder / f"{side.__name__}-xet")
                assert cache_tree(folder / f"{side.__name__}-xet") == expected, f"{side.__name__} of Xet: another cache"
            print("same cache of files that Xet keeps")
        compare_on_bad_days(folder, expected)
        for first, second in ((theirs, ours), (ours, theirs)):
            with Hub(checkpoint(), pace=0.005) as hub:
                cache = folder / f"{first.__name__}-first"
                kill_midway(first, hub, cache)
                before, hub.pace = hub.sent, 0
                run(second, hub, cache)
                assert clean(cache_tree(cache)) == expected, f"{second.__name__} after {first.__name__}: the caches differ"
                print(f"{second.__name__} after {first.__name__} was killed at {before} of {TOTAL} bytes: "
                      f"asked for {hub.sent - before} more")
        with Hub(checkpoint()) as hub:
            run(ours, hub, folder / "local")
            hub.faults = [Fault("", 1000, status=503)]
            process = subprocess.run([PYTHON, "-c", DOWNLOAD], capture_output=True, text=True, timeout=120,
                                     env={**environment(hub, folder / "local"), "HF_HUB_OFFLINE": "1"})
            assert process.returncode == 0, process.stderr
            print("huggingface_hub finds ours offline")
    return 0


if __name__ == "__main__":
    sys.exit(main())
