#!/usr/bin/env python3
"""Times `thinkwire-bench tokenize` beside tokenizers from PyPI, on the same texts in turn.

  pip install tokenizers gigatoken fastokens
  time_tokenizers.py --bench build/release/tests/bench/thinkwire-bench --model DIR FILE...

All encode each file in the same documents, one call each on one thread, and count processor time.
Each measurement is a process of its own: its first pass sees every word for the first time, the
median of the passes after it is warm (of all passes for ours). Prints medians over the rounds in
MB/s; exits 1 if the numbers of tokens differ.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

PEERS = ["gigatoken", "fastokens", "tokenizers"]


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


def make_peer(name, file):
    """A function that encodes a text and returns the number of tokens."""
    if name == "gigatoken":
        import gigatoken
        tokenizer = gigatoken.Tokenizer(file)._backend  # without the adapters in Python
        return lambda text: len(tokenizer.encode(text))
    if name == "fastokens":
        import fastokens
        tokenizer = fastokens.Tokenizer.from_file(file)
        return lambda text: len(tokenizer.encode_batch_flat([text])[0]) // 4  # no list of Python's
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(file)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def time_peer(name, model, path, size, passes):
    """In the process of a peer: prints what time_in_process reads."""
    texts = list(documents(path, size))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    __import__(name)
    begin = time.process_time()
    encode = make_peer(name, model + "/tokenizer.json")
    load = time.process_time() - begin
    rates = []
    for _ in range(passes):
        begin = time.process_time()
        num_tokens = sum(map(encode, texts))
        rates.append(megabytes / (time.process_time() - begin))
    print(json.dumps([load, rates[0], statistics.median(rates[1:] or rates), num_tokens]))


def time_in_process(name, args, path):
    command = [sys.executable, __file__, "--bench", "", "--model", args.model, "--peer", name,
               "--document_bytes", str(args.document_bytes), "--passes", str(args.passes), path]
    environment = dict(os.environ, TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout)


def time_ours(args, path):
    def run(passes):
        command = [args.bench, "tokenize", "--model", args.model, "--text", path, "--document_bytes",
                   str(args.document_bytes), "--hostile_bytes", "0", "--repetitions", str(passes)]
        load, _, line = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
        return float(load.split()[2]), float(line.split()[3]), int(line.split()[2])

    load, first, num_tokens = run(1)
    return [load, first, run(args.passes)[1], num_tokens]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bench", required=True, help="the thinkwire-bench binary")
    parser.add_argument("--model", required=True, help="folder with a tokenizer.json")
    parser.add_argument("--document_bytes", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=7)
    parser.add_argument("--peers", default=",".join(PEERS), help="a list")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    if args.peer:
        return time_peer(args.peer, args.model, args.files[0], args.document_bytes, args.passes)
    same = True
    for path in args.files:
        results = {"ours": []} | {peer: [] for peer in args.peers.split(",")}
        for _ in range(args.rounds):
            for name, rows in results.items():
                rows.append(time_ours(args, path) if name == "ours" else time_in_process(name, args, path))
        for name, rows in results.items():
            load, first, warm, num_tokens = (statistics.median(column) for column in zip(*rows))
            same = same and num_tokens == results["ours"][0][3]
            print(f"{path}, {name}: first {first:.1f} MB/s, warm {warm:.1f}, {num_tokens} tokens, load {load:.2f} s",
                  flush=True)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
