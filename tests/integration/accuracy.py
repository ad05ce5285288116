#!/usr/bin/env python3
"""Asks the bundled model held-out problems through router, worker and thinkwire-chat.

Usage: tests/integration/accuracy.py --build BUILD_FOLDER [--count 500] [--seed 1] [--model FILE]
--model is the bundled model in another form (tests/data/scripts/make_gguf.py). Greedy. Prints what
was wrong and a summary; the exit code is 1 if under 95 % of the answers are right, or a line of any
reasoning is false.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUNDLED = ROOT / "deploy/models/tiny-r1"
PROBLEMS = ROOT / "deploy/models/training/problems.py"
CONCURRENT = 16


@contextlib.contextmanager
def started(*command):
    """Runs a server and yields its log record of the ports that it listens on."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    try:
        for line in process.stderr:
            if '"listening"' in line:
                break
        else:
            sys.exit(f"{command[0]} ended before it listened")
        # The log goes on; nobody may block on a full pipe.
        with concurrent.futures.ThreadPoolExecutor(1) as drain:
            drain.submit(lambda: [None for _ in process.stderr])
            try:
                yield json.loads(line)
            finally:  # else the drain waits for the log's end
                process.terminate()
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def started_both(build, *router_options, model=BUNDLED):
    """Runs a worker with the model and, after it, a router; yields the router's record."""
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(started(
            build / "worker/thinkwire-worker", "--model", model, "--served_model_name=tiny-r1",
            "--device=cpu", "--listen=127.0.0.1:0", "--metrics_listen="))["port"]
        config = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".yaml"))
        config.write(f'variants:\n  - name: tiny-r1\n    workers: ["127.0.0.1:{port}"]\n')
        config.flush()
        yield stack.enter_context(started(
            build / "router/thinkwire-router", "--config", config.name, "--listen=127.0.0.1:0",
            "--metrics_listen=", *router_options))


@contextlib.contextmanager
def serving_both(build, model=BUNDLED):
    """The same; yields the router's port."""
    with started_both(build, model=model) as record:
        yield record["port"]


def ask(chat, router, question, *options):
    """One question's transcript, as problems.py reads it."""
    result = subprocess.run(
        [chat, "--router", router, "--temperature=0", "--json", *options],
        input=question, capture_output=True, text=True, encoding="utf-8", check=False,
    )
    if result.returncode != 0:
        sys.exit(f"{question!r}: exit code {result.returncode}: {result.stderr.strip()}")
    text = {"reasoning": "", "answer": ""}
    for line in result.stdout.splitlines():
        event = json.loads(line)
        if event["event"] in text:
            text[event["event"]] += event["text"]
    return {"question": question, **text}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=pathlib.Path, default=BUNDLED)
    args = parser.parse_args()
    chat = args.build / "router/thinkwire-chat"

    sample = subprocess.run(
        [sys.executable, PROBLEMS, "sample", "--held-out", f"--count={args.count}",
         f"--seed={args.seed}"],
        capture_output=True, text=True, encoding="utf-8", check=True,
    )
    questions = [json.loads(line)["question"] for line in sample.stdout.splitlines()]

    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving_both(args.build, args.model))
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(CONCURRENT))
        transcripts = list(pool.map(lambda q: ask(chat, f"localhost:{port}", q), questions))

    check = subprocess.run(
        [sys.executable, PROBLEMS, "check", "--min-answers=0.95", "--min-reasoning=1"],
        input="".join(json.dumps(row, ensure_ascii=False) + "\n" for row in transcripts),
        text=True, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"}, check=False,
    )
    return check.returncode


if __name__ == "__main__":
    sys.exit(main())
