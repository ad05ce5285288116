#!/usr/bin/env python3
"""Tells in one line what the tests have skipped, and why.

Usage: .ci/skipped.py [--also REASON]… JUNIT…   what ctest --output-junit has written
--also adds what was left out beside the tests. A reason is what a test has said: GTEST_SKIP's words,
or those after "skipped:" of a script.
"""
import argparse
import collections
import re
import xml.etree.ElementTree

_REASON = re.compile(r": Skipped\n(.+)|^skipped: (.+)", re.M)


def reasons(path):
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        if case.find("skipped") is None:
            continue
        said = _REASON.search(case.findtext("system-out") or "")
        # Of a status with its cause the first words say enough.
        yield re.sub(r"^\w+: ", "", said.group(1) or said.group(2)) if said else case.get("name")


def summary(counts, also):
    parts = [f"{count} tests ({reason})" if count > 1 else f"1 test ({reason})"
             for reason, count in counts.most_common()]
    parts += also
    return "skipped: " + ("; ".join(parts) if parts else "nothing")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--also", action="append", default=[])
    parser.add_argument("junit", nargs="*")
    arguments = parser.parse_args()
    counts = collections.Counter(reason for path in arguments.junit for reason in reasons(path))
    print(summary(counts, arguments.also))


if __name__ == "__main__":
    main()
