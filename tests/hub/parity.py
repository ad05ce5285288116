#!/usr/bin/env python3
"""Whether what `thinkwire-worker pull` leaves in the cache is what huggingface_hub leaves, to the byte, and whether either
goes on with what the other began. Run by hand, as it needs huggingface_hub from PyPI:

  python3 -m venv /tmp/hub && /tmp/hub/bin/pip install huggingface_hub==2.4.0     (or 0.36.0)
  tests/hub/parity.py BUILD_FOLDER /tmp/hub/bin/python
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

PYTHON = sys.argv.pop(2)
# By its own arguments.
from pull_test import BIG, NEEDED, PIECE, WORKER, cache_tree, checkpoint  # noqa: E402

TOTAL = sum(len(data) for path, data in checkpoint().items() if path in NEEDED)
DOWNLOAD = f"""
import huggingface_hub
print(huggingface_hub.__version__, huggingface_hub.snapshot_download("org/model", allow_patterns={sorted(NEEDED)!r}))
"""


def environment(hub, cache):
    return {"PATH": os.environ["PATH"], "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HOME": str(cache),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def theirs(hub, cache):
    return [PYTHON, "-c", DOWNLOAD], environment(hub, cache)


def ours(hub, cache):
    return [WORKER, "pull", f"--piece_bytes={PIECE}", "org/model"], environment(hub, cache)


def run(side, hub, cache):
    command, variables = side(hub, cache)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
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


def main():
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


if __name__ == "__main__":
    main()
