#!/usr/bin/env python3
"""Says how long functions and files of the sources (not tests) are, so that it is looked at.

Usage: .ci/function_lengths.py [ROOT]

Prints median, p90 and p99 of the functions' lines, the ten longest functions, and the files over
their limit: 400 lines, a header 200, a kernel file (.cu, .cuh) 500. A length is counted from the
line of the name to the closing brace, by universal-ctags.
Fails if p90 is over 20 lines, or if a file over its limit does not say why in a comment of its
first 40 lines that holds the words "Longer than its limit:"; a header is only listed.
"""
import json
import pathlib
import subprocess
import sys

ROOMS = ("common", "router", "worker")
SOURCES = {".h": 200, ".cc": 400, ".cu": 500, ".cuh": 500}  # and their limits in lines
MAX_P90 = 20
NUM_LONGEST = 10
REASON = "Longer than its limit:"
REASON_LINES = 40


def sources(root):
    return sorted(file for room in ROOMS for file in (root / room).rglob("*")
                  if file.suffix in SOURCES)


def functions(files):
    """(lines, path, line, name) of each function that has a body."""
    run = subprocess.run(
        ["ctags", "--output-format=json", "--language-force=C++", "--kinds-C++=f",
         "--fields=+ne", "-D", "__launch_bounds__(bounds)=", "-o", "-", "-L", "-"],
        input="\n".join(map(str, files)), capture_output=True, text=True, check=True)
    found = []
    for line in run.stdout.splitlines():
        tag = json.loads(line)
        if "end" in tag:
            found.append((tag["end"] - tag["line"] + 1, tag["path"], tag["line"], tag["name"]))
    return sorted(found, reverse=True)


def percentile(ascending, share):
    return ascending[min(len(ascending) - 1, int(len(ascending) * share))]


def long_files(files):
    """(lines, path, whether that must not be) of each file over its limit."""
    for file in files:
        lines = file.read_text().splitlines()
        if len(lines) <= SOURCES[file.suffix]:
            continue
        explained = REASON in "\n".join(lines[:REASON_LINES])
        yield len(lines), file, file.suffix != ".h" and not explained


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    files = sources(root)
    found = functions(files)
    lengths = sorted(length for length, *_ in found)
    p90 = percentile(lengths, 0.9)
    print(f"lengths: {len(lengths)} functions, median {percentile(lengths, 0.5)}, p90 {p90}, "
          f"p99 {percentile(lengths, 0.99)} lines; {len(files)} files; the longest functions:")
    for length, path, line, name in found[:NUM_LONGEST]:
        print(f"  {length:4} {pathlib.Path(path).relative_to(root)}:{line} {name}")
    failed = p90 > MAX_P90
    if failed:
        print(f"lengths: p90 is over {MAX_P90} lines")
    for length, file, wrong in long_files(files):
        failed |= wrong
        advice = f"; say why in its head: '{REASON} …'" if wrong else ""
        print(f"lengths: {file.relative_to(root)} has {length} lines, over "
              f"{SOURCES[file.suffix]}{advice}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
