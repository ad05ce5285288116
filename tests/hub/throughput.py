#!/usr/bin/env python3
"""What `thinkwire-worker pull` takes for one large file, beside curl with one connection, from the same hub on this
machine, and beside what nobody can be faster than who checks the file: its SHA-256, by OpenSSL from memory. By hand: throughput.py BUILD_FOLDER [MEGABYTES] [ROUNDS] [FOLDER]; all take turns.
"""
import hashlib
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import fake_hub

BUILD = pathlib.Path(sys.argv[1])
MEGABYTES = int(sys.argv[2]) if len(sys.argv) > 2 else 512
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
FOLDER = sys.argv[4] if len(sys.argv) > 4 else "/dev/shm"


def seconds(command, **environment):
    began = time.monotonic()
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    return time.monotonic() - began


def main():
    data = random.Random(1).randbytes(1 << 20) * MEGABYTES
    files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": data}
    times = {"SHA-256 of it, in memory": [], "curl": [], "curl, and sha256sum of it": [], "pull": [], "pull with eight connections": []}
    fake_hub.CHUNK = 1 << 20
    with fake_hub.Hub(files) as hub:
        url = f"{hub.url}/org/model/resolve/{fake_hub.COMMIT}/model.safetensors"
        for _ in range(ROUNDS):
            began = time.monotonic()
            hashlib.sha256(data).digest()
            times["SHA-256 of it, in memory"].append(time.monotonic() - began)
            with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
                times["curl"].append(seconds(["curl", "-sSfL", "-o", f"{folder}/x", url]))
                summed = seconds(["sha256sum", f"{folder}/x"])
                times["curl, and sha256sum of it"].append(times["curl"][-1] + summed)
            for name, connections in (("pull", 0), ("pull with eight connections", 8)):
                with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
                    times[name].append(seconds([BUILD / "worker/thinkwire-worker", "pull", "org/model",
                                                f"--connections={connections}"],
                                               HF_ENDPOINT=hub.url, HF_HUB_CACHE=folder))
    slower = max(statistics.median(times[name]) for name in ("SHA-256 of it, in memory", "curl"))
    print(f"pull has {100 * slower / statistics.median(times['pull']):.0f} % of the slower one of curl and SHA-256, "
          f"{100 * statistics.median(times['curl']) / statistics.median(times['pull']):.0f} % of curl")
    for name, all_times in times.items():
        print(f"{name}: median {MEGABYTES * 1.048576 / statistics.median(all_times):.0f} MB/s of "
              f"{[round(MEGABYTES * 1.048576 / t) for t in all_times]}")


if __name__ == "__main__":
    main()
