#!/usr/bin/env python3
"""Runs clang-tidy with the checks of .clang-tidy over the sources (not tests) of a build folder.

Usage: .ci/tidy.py BUILD [FILE…]   BUILD has a compile_commands.json and the generated headers.

What was clean is remembered in ${XDG_CACHE_HOME:-~/.cache}/thinkwire-tidy by a hash of the source,
of all of ours that it includes, of its compiler line, of .clang-tidy and of clang-tidy's version,
so that only what a change reaches is looked at again. The system's headers are taken as given.
"""
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("common", "router", "worker")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
# What the database's compiler, g++, knows and clang does not.
EXTRA = ["--extra-arg=-Wno-unknown-warning-option"]


@functools.cache
def text_of(path):
    return (ROOT / path).read_text()


@functools.cache
def includes_of(path):
    """Files of ours that `path` includes; of a generated header its .proto."""
    found = []
    for name in INCLUDE.findall(text_of(path)):
        proto = "protos/" + re.sub(r"(\.grpc)?\.pb\.h$", ".proto", name)
        found += [file for file in (name, proto) if (ROOT / file).is_file()]
    return found


def closure_of(path):
    seen = {path}
    todo = [path]
    while todo:
        for file in includes_of(todo.pop()):
            if file not in seen:
                seen.add(file)
                todo.append(file)
    return sorted(seen)


def stamp_of(path, command, fixed):
    digest = hashlib.sha256(fixed)
    digest.update(command.replace(str(ROOT), "").encode())
    for file in closure_of(path):
        digest.update(f"\0{file}\0{text_of(file)}".encode())
    return digest.hexdigest()


def check(path, build):
    """The findings in `path`, empty if there are none."""
    run = subprocess.run(["clang-tidy", "-p", str(build), "--quiet", *EXTRA, str(ROOT / path)],
                         cwd=ROOT, capture_output=True, text=True)
    return "" if run.returncode == 0 else run.stdout + run.stderr


def commands(build):
    """Source -> its compiler line, for the sources of the rooms."""
    found = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = pathlib.Path(entry["file"])
        if file.suffix == ".cc" and file.is_relative_to(ROOT):
            path = file.relative_to(ROOT).as_posix()
            if path.startswith(ROOMS):
                found[path] = entry["command"]
    return found


def main():
    start = time.monotonic()
    build = pathlib.Path(sys.argv[1]).resolve()
    wanted = commands(build)
    if len(sys.argv) > 2:
        wanted = {path: wanted[path] for path in sys.argv[2:]}
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    cache /= "thinkwire-tidy"
    cache.mkdir(parents=True, exist_ok=True)
    version = subprocess.run(["clang-tidy", "--version"], capture_output=True, check=True).stdout
    fixed = version + text_of(".clang-tidy").encode()
    stamps = {path: cache / stamp_of(path, command, fixed) for path, command in wanted.items()}
    todo = [path for path, stamp in stamps.items() if not stamp.exists()]
    failed = 0
    print(f"tidy: {len(todo)} of {len(wanted)} sources to look at", flush=True)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, findings in zip(todo, pool.map(lambda path: check(path, build), todo)):
            if findings:
                failed += 1
                print(findings)
            else:
                stamps[path].touch()
    print(f"tidy: {len(wanted)} sources, {len(todo)} looked at, {failed} with findings, "
          f"{time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
