#!/usr/bin/env python3
"""Times `thinkwire-bench tokenize` beside Hugging Face `tokenizers`, on the same texts in turn.

  pip install tokenizers
  time_tokenizers.py --bench build/release/tests/bench/thinkwire-bench --model DIR FILE...

Both encode each file in the same documents, one call each on one thread, and both count processor
time. Prints the medians; exits 1 if the numbers of tokens differ.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer  # noqa: E402


def documents(path, size):
    """The file as the bench cuts it: pieces of `size` bytes, each to the end of its last character."""
    data = pathlib.Path(path).read_bytes()
    begin = 0
    while begin < len(data):
        end = min(begin + size, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end += 1
        yield data[begin:end].decode()
        begin = end


def time_theirs(tokenizer, texts):
    begin = time.process_time()
    num_tokens = sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)
    return time.process_time() - begin, num_tokens


def time_ours(bench, model, path, size):
    command = [bench, "tokenize", "--model", model, "--text", path, "--document_bytes", str(size),
               "--hostile_bytes", "0", "--repetitions", "1"]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    load, _, line = run.stdout.splitlines()
    _, _, num_tokens, megabytes_per_second, _, _ = line.split()
    return float(load.split()[2]), float(megabytes_per_second), int(num_tokens)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bench", required=True, help="the thinkwire-bench binary")
    parser.add_argument("--model", required=True, help="folder with a tokenizer.json")
    parser.add_argument("--document_bytes", type=int, default=16384)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    begin = time.process_time()
    tokenizer = Tokenizer.from_file(args.model + "/tokenizer.json")
    their_load = time.process_time() - begin
    our_loads = []
    same = True
    for path in args.files:
        texts = list(documents(path, args.document_bytes))
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        ours, theirs = [], []
        for _ in range(args.repetitions):
            load, rate, our_tokens = time_ours(args.bench, args.model, path, args.document_bytes)
            our_loads.append(load)
            ours.append(rate)
            seconds, their_tokens = time_theirs(tokenizer, texts)
            theirs.append(megabytes / seconds)
            same = same and our_tokens == their_tokens
        ratio = statistics.median(our / their for our, their in zip(ours, theirs))
        print(f"{path}: {megabytes:.2f} MB, {our_tokens} tokens ({their_tokens} theirs), ours "
              f"{statistics.median(ours):.1f} MB/s, theirs {statistics.median(theirs):.2f}, {ratio:.0f} times")
    print(f"load: ours {statistics.median(our_loads):.2f} s, theirs {their_load:.2f} s")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
