#!/usr/bin/env python3
"""Compares `thinkwire-worker --tokenize` with Hugging Face `tokenizers` over much text.

  pip install tokenizers
  compare_tokenizer.py --worker build/release/worker/thinkwire-worker --model DIR... [--files FILE...]

For each model folder it feeds the same texts to both: every code point alone and in several
surroundings (between letters, after a space, …), seeded random mixtures of scripts, white space, contractions, digits and added tokens, and the given
files in pieces. Prints the number of texts and bytes, and each difference; exits 1 if there is one.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys

from tokenizers import Tokenizer


def code_points():
    return (c for c in range(0x110000) if not 0xD800 <= c < 0xE000)


def code_point_texts():
    """Each code point alone, and between letters, digits, spaces, punctuation and after a quote."""
    for c in code_points():
        char = chr(c)
        yield char
        yield f"a{char}b {char}{char} 1{char}2 ,{char} \n{char}\n '{char} x\u0301{char} {char}"


def random_texts(seed, count, added):
    rng = random.Random(seed)
    ranges = [(0x20, 0x7E), (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF),
              (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F),
              (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFF00, 0xFFEF), (0x1F300, 0x1FAFF),
              (0x0, 0x1F), (0x0, 0x10FFFF)]
    bits = [" ", "  ", "   ", "\n", "\r\n", "\n\n\n", "\t", "\u00a0", "\u3000", "\u180e", "'s", "'LL", "'\u017f",
            "don't", "12345678", "3.14", "\u0661\u0662\u0663\u0664", "e\u0301", "\u212b", "\u1112\u1161\u11ab",
            "\u0344", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "!!!", "...\n", "\x00",
            "if (x) {", "\u4f60\u597d\uff0c\u4e16\u754c", "\u30c6\u30b9\u30c8", "<", "</", "<think", "\uff5c>",
            "\u2581"] + added
    for _ in range(count):
        parts = []
        for _ in range(rng.randrange(1, 40)):
            if rng.random() < 0.45:
                parts.append(rng.choice(bits))
            else:
                low, high = rng.choice(ranges)
                for _ in range(rng.randrange(1, 8)):
                    c = rng.randint(low, high)
                    parts.append(chr(c) if not 0xD800 <= c < 0xE000 else "a")
        yield "".join(parts)


def file_texts(files, piece_chars):
    for file in files:
        text = pathlib.Path(file).read_text(encoding="utf-8", errors="replace")
        for begin in range(0, len(text), piece_chars):
            yield text[begin:begin + piece_chars]


def batches(texts, size):
    batch = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def ours(worker, model, texts, as_user_text):
    command = [worker, "--tokenize", "--model", str(model)] + (["--as_user_text"] if as_user_text else [])
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    run = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [json.loads(line)["ids"] for line in run.stdout.splitlines()]


def compare(worker, model, files, seed, count):
    reference = Tokenizer.from_file(str(model / "tokenizer.json"))
    spec = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    added = [token["content"] for token in spec["added_tokens"]]
    # Message text is what a tokenizer without added tokens gives.
    spec["added_tokens"] = []
    spec["post_processor"] = None
    plain = Tokenizer.from_str(json.dumps(spec))
    num_texts = num_bytes = num_different = 0
    as_prompt = (False, reference)
    as_message = (True, plain)
    # Code points make no added token, so that both ways would give the same.
    sources = [(code_point_texts(), [as_prompt]), (random_texts(seed, count, added[:40]), [as_prompt, as_message]),
               (file_texts(files, 1 << 20), [as_prompt, as_message])]
    for source, ways in sources:
        for texts in batches(source, 100_000):
            for as_user_text, tokenizer in ways:
                got = ours(worker, model, texts, as_user_text)
                want = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
                assert len(got) == len(texts)
                for text, mine, theirs in zip(texts, got, want):
                    num_texts += 1
                    num_bytes += len(text.encode())
                    if mine != theirs.ids:
                        num_different += 1
                        if num_different <= 20:
                            print(f"differs (as_user_text={as_user_text}): {text[:200]!a}\n"
                                  f"  ours   {mine[:60]}\n  theirs {theirs.ids[:60]}")
    print(f"{model}: {num_texts} texts, {num_bytes} bytes, {num_different} different")
    return num_different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--worker", required=True, help="the thinkwire-worker binary")
    parser.add_argument("--model", required=True, nargs="+", type=pathlib.Path, help="folders with a tokenizer.json")
    parser.add_argument("--files", nargs="*", default=[], help="texts to compare over as well")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20_000, help="random texts")
    args = parser.parse_args()
    different = sum(compare(args.worker, model, args.files, args.seed, args.count) for model in args.model)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
