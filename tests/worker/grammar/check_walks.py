#!/usr/bin/env python3
"""Holds random answers of grammar_walks against python3-jsonschema, and its refusals against what
each should say.

Usage: check_walks.py GRAMMAR_WALKS DATA TOKENIZER_DIR SEED WALKS
"""
import datetime
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import jsonschema

MIN_ENDED = 0.95  # of all walks


def is_date(value):
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        return False
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_date_time(value):
    match = re.fullmatch(r"(.{10})T(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:Z|[+-](\d\d):(\d\d))", value, re.ASCII)
    if not match or not is_date(match[1]):
        return False
    hour, minute, second, offset_hour, offset_minute = (int(part or 0) for part in match.groups()[1:])
    return hour < 24 and minute < 60 and second < 60 and offset_hour < 24 and offset_minute < 60


def is_uuid(value):
    groups = value.split("-")
    return ([len(group) for group in groups] == [8, 4, 4, 4, 12] and
            all(re.fullmatch("[0-9a-fA-F]+", group) for group in groups))


def is_email(value):
    local, _, host = value.rpartition("@")
    return (0 < len(local) <= 64 and all(local.split(".")) and not re.search(r"[\s\"@<>]", local) and
            host.count(".") > 0 and
            all(re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label)
                for label in host.split(".")))


CHECKS = {"date": is_date, "date-time": is_date_time, "uuid": is_uuid, "email": is_email}
WRONG = {"date": "2023-02-29", "date-time": "2023-02-28T24:00:00Z",
         "uuid": "123e4567-e89b-12d3-a456-42661417400g", "email": "a..b@c.de"}


def checker():
    checks = jsonschema.FormatChecker(formats=())
    for name, check in CHECKS.items():
        checks.checks(name)(lambda value, check=check: not isinstance(value, str) or check(value))
        try:
            checks.check(WRONG[name], name)
        except jsonschema.FormatError:
            continue
        raise SystemExit(f"the checker of {name} takes {WRONG[name]}")
    return checks


def run(*arguments):
    result = subprocess.run(arguments, stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in result.stdout.splitlines()]


def check_walks(binary, data, tokenizer, seed, num_walks):
    path = data / "accepted.jsonl"
    schemas = [json.loads(line) for line in path.read_text().splitlines()]
    checks = checker()
    validators = [jsonschema.Draft202012Validator(schema, format_checker=checks)
                  for schema in schemas]
    walks = run(binary, "walks", path, tokenizer, seed, num_walks)
    wrong = 0
    for walk in walks:
        try:
            validators[walk["schema"]].validate(json.loads(walk["text"]))
        except (ValueError, jsonschema.ValidationError) as error:
            wrong += 1
            print(f"{json.dumps(schemas[walk['schema']])}: {walk['text']!r}: {error}")
    total = len(schemas) * int(num_walks)
    print(f"{len(walks)} of {total} answers of {len(schemas)} schemas ended, {wrong} are wrong")
    return wrong == 0 and len(walks) >= MIN_ENDED * total


def check_refusals(binary, data, tokenizer):
    cases = [json.loads(line) for line in (data / "refused.jsonl").read_text().splitlines()]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as schemas:
        for case in cases:
            schemas.write(json.dumps(case["schema"]) + "\n")
        schemas.flush()
        answers = run(binary, "refusals", schemas.name, tokenizer, "0", "0")
    wrong = [(case, answer["refusal"]) for case, answer in zip(cases, answers, strict=True)
             if not answer["refusal"] or case["says"] not in answer["refusal"]]
    for case, refusal in wrong:
        print(f"{json.dumps(case)}: {refusal!r}")
    print(f"{len(cases)} schemas refused, but for {len(wrong)}")
    return not wrong


def main():
    binary, data, tokenizer, seed, num_walks = sys.argv[1:]
    walks = check_walks(binary, pathlib.Path(data), tokenizer, seed, num_walks)
    refusals = check_refusals(binary, pathlib.Path(data), tokenizer)
    sys.exit(0 if walks and refusals else 1)


if __name__ == "__main__":
    main()
