#!/usr/bin/env python3
"""Draws problems for the bundled model and checks what it wrote about them.

problems.py sample [--held-out] [--count 500] [--seed 1] [--kinds add,sub,...]
    prints JSON lines {"question", "answer", "kind", "language"}, each question once.
problems.py check [--min-answers 0.95] [--min-reasoning 0]
    reads JSON lines {"question", "reasoning", "answer"}, prints each false line and a summary;
    the exit code is 1 if the share of right answers, or of transcripts whose every line is true,
    is under its threshold or if there is no transcript.

Needs nothing but Python's standard library.
"""

import argparse
import collections
import json
import random
import sys

import problem as problems
from checker import check
from solution import answer_text
from wordings import parse, worded


def sample(count, seed, held_out, kinds=problems.KINDS):
    """Different questions, the kinds in turn: a list of (problem, question)."""
    rng = random.Random(seed)
    chosen = {}
    while len(chosen) < count:
        kind = kinds[len(chosen) % len(kinds)]
        drawn, question = worded(rng, problems.draw(rng, kind, held_out))
        chosen.setdefault(question, drawn)
    return [(drawn, question) for question, drawn in chosen.items()]


def _print_sample(args):
    kinds = tuple(args.kinds.split(","))
    for drawn, question in sample(args.count, args.seed, args.held_out, kinds):
        row = {
            "question": question, "answer": answer_text(drawn), "kind": drawn.kind,
            "language": drawn.language,
        }
        print(json.dumps(row, ensure_ascii=False))
    return 0


def _report(row, verdict, expected):
    if not verdict.answer_right:
        print(f"wrong answer: {row['question']!r} -> {row['answer'].strip()!r}, not {expected!r}")
    for line, why in verdict.false_lines:
        print(f"false line: {row['question']!r}: {line!r}: {why}")


def _print_check(args):
    seen = collections.Counter()
    for text in sys.stdin:
        if not text.strip():
            continue
        row = json.loads(text)
        asked = parse(row["question"])
        if asked is None:
            sys.exit(f"no known wording: {row['question']!r}")
        verdict = check(asked, row["reasoning"], row["answer"])
        _report(row, verdict, answer_text(asked))
        seen.update(total=1, right=int(verdict.answer_right), all_true=int(not verdict.false_lines))
    total = max(1, seen["total"])
    print(
        f"{seen['right']} of {seen['total']} answers right, "
        f"{seen['total'] - seen['all_true']} transcripts with a false line"
    )
    answers, reasoning = seen["right"] / total, seen["all_true"] / total
    return 0 if seen["total"] and answers >= args.min_answers and reasoning >= args.min_reasoning else 1


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("sample")
    command.add_argument("--held-out", action="store_true")
    command.add_argument("--count", type=int, default=500)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--kinds", default=",".join(problems.KINDS))
    command.set_defaults(run=_print_sample)
    command = commands.add_parser("check")
    command.add_argument("--min-answers", type=float, default=0.95)
    command.add_argument("--min-reasoning", type=float, default=0.0)
    command.set_defaults(run=_print_check)
    args = parser.parse_args()
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(args.run(args))


if __name__ == "__main__":
    main()
