#!/usr/bin/python3
"""How fast the bundled model answers in a schema of 40 properties, beside answering freely.

Usage: format_speed.py BUILD_FOLDER [ROUNDS [SECONDS]]
By turns, 16 streams each, one request after another: a schema of 40 properties, and free text of
the same length, as longer texts cost more a token. Prints, of each, tokens a second of wall time and
of the worker's CPU time, which a busy machine hardly changes.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
STREAMS = 16
MAX_TOKENS = 2000

sys.path.insert(0, str(REPOSITORY / "tests/integration"))
sys.path.insert(0, str(REPOSITORY / "tests/contract"))
sys.path.insert(0, str(REPOSITORY / "tests/worker/grammar"))


def schema():
    kinds = [{"type": "string", "maxLength": 24}, {"type": "integer", "minimum": 0, "maximum": 99999},
             {"type": "boolean"}, {"enum": ["low", "medium", "high"]}, {"type": "number"}]
    properties = {f"field_{i:02}": kinds[i % len(kinds)] for i in range(40)}
    return {"type": "object", "properties": properties, "required": list(properties),
            "additionalProperties": False}


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def request(client, seed, text, length):
    out = client.messages.GenerateRequest(variant="tiny-r1", seed=seed, max_tokens=length)
    out.prompt.chat.messages.add(role=client.messages.ROLE_USER).content = "What is 27+48?"
    out.sampling.temperature = out.sampling.top_p = 1
    out.thinking.mode = client.messages.THINKING_MODE_OFF
    if text is None:
        out.ignore_eos = True
    else:
        out.answer_format.json_schema = text
    return out


def stream(client, number, text, length, end):
    tokens = forced = answers = 0
    while time.monotonic() < end:
        answers += 1
        asked = request(client, number * 1000 + answers, text, length)
        for event in client.call(asked, timeout=300):
            if event.HasField("completed"):
                tokens += event.completed.usage.answer_tokens
                forced += event.completed.usage.forced_tokens
    return tokens, forced, answers


def measure(client, pid, text, length, seconds):
    """Tokens a second, of wall and of CPU time, the share that was forced, and tokens an answer."""
    begin, cpu = time.monotonic(), cpu_seconds(pid)
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
        done = list(pool.map(lambda n: stream(client, n, text, length, begin + seconds),
                             range(STREAMS)))
    wall, cpu = time.monotonic() - begin, cpu_seconds(pid) - cpu
    tokens, forced, answers = (sum(column) for column in zip(*done))
    return tokens / wall, tokens / cpu, forced / tokens, tokens // answers


def main():
    from accuracy import serving_both
    from formats_test import Client

    build = pathlib.Path(sys.argv[1]).resolve()
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 5
    with contextlib.ExitStack() as stack:
        work = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(serving_both(build))
        # The worker first, then the router.
        pid = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-2]
        client = Client(work, f"localhost:{port}")
        text = json.dumps(schema())
        in_schema, free = [], []
        for _ in range(rounds):
            in_schema.append(measure(client, pid, text, MAX_TOKENS, seconds))
            free.append(measure(client, pid, None, in_schema[-1][3], seconds))
        for name, rates in (("free", free), ("schema", in_schema)):
            wall, cpu, forced, length = (statistics.median(column) for column in zip(*rates))
            print(f"{name}: {wall:.0f} tokens a second, {cpu:.0f} of CPU time, {forced:.0%} forced, "
                  f"{length:.0f} an answer")


if __name__ == "__main__":
    main()
