#!/usr/bin/env python3
"""Writes the requests of tests/data/seeded_texts.jsonl, without their texts.

Usage: make_seeded_requests.py [--count 200] >requests.jsonl
Questions of every kind to the bundled model, a seed each, under ten sets of options in turn. The
texts are what a worker answers: tests/integration/seeded_texts_test.cc says how they are recorded.
"""

import argparse
import json
import pathlib
import subprocess
import sys

PROBLEMS = pathlib.Path(__file__).resolve().parents[3] / "deploy/models/training/problems.py"

# As the JSON form of thinkwire.v1.GenerateRequest, both phases alike unless they are named.
BOTH = [
    {},
    {"temperature": 1.5, "topK": 40, "minP": 0.02},
    {"temperature": 1.2, "repetitionPenalty": 1.3},
    {"temperature": 1.0, "presencePenalty": 0.7, "frequencyPenalty": 0.4, "topP": 1.0},
    {"temperature": 0.0},
    {"temperature": 2.0, "topP": 0.9},
    {"temperature": 0.9, "logitBias": {"270": 4.0, "300": -3.0}},
    {"temperature": 1.0},
    {},
    {"temperature": 1.1, "topP": 1.0},
]
MORE = {
    1: {"reasoningSampling": {"temperature": 0.3}},
    5: {"maxTokens": 40},
    7: {"answerSampling": {"stopStrings": ["=", "是"], "temperature": 1.0}},
    8: {"thinking": {"mode": "THINKING_MODE_OFF"}},
    9: {"ignoreEos": True, "maxTokens": 64},
}


def request(index, question):
    options = BOTH[index % len(BOTH)]
    made = {
        "prompt": {"chat": {"messages": [{"role": "ROLE_USER", "content": question}]}},
        "seed": str(1000 + 7919 * index),
        "reasoningSampling": options,
        "answerSampling": options,
    }
    return made | MORE.get(index % len(BOTH), {})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    problems = subprocess.run(
        [sys.executable, PROBLEMS, "sample", f"--count={args.count}", "--seed=20"],
        capture_output=True, text=True, encoding="utf-8", check=True,
    )
    for index, line in enumerate(problems.stdout.splitlines()):
        row = {"request": request(index, json.loads(line)["question"])}
        print(json.dumps(row, ensure_ascii=False))


if __name__ == "__main__":
    main()
