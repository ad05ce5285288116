#!/usr/bin/env python3
"""What grammar_bench measures, of xgrammar and llguidance (PyPI): processor time of one thread.

Usage: grammar_peers.py TOKENIZER_DIR [FILE]
"""
import json
import pathlib
import statistics
import sys
import time

import llguidance
import llguidance.numpy
import numpy
import xgrammar

PASSES = 3  # of which the median counts, as others use the machine too


def byte_level():
    """The characters that byte-level vocabularies spell bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = {chr(byte): byte for byte in plain}
    rest = [byte for byte in range(256) if byte not in plain]
    return spelled | {chr(256 + i): byte for i, byte in enumerate(rest)}


def tokens_of(tokenizer):
    spelled = byte_level()
    tokens = {id_: bytes(spelled[c] for c in text) for text, id_ in tokenizer["model"]["vocab"].items()}
    for token in tokenizer["added_tokens"]:
        tokens[token["id"]] = token["content"].encode()
    return [tokens.get(id_, b"") for id_ in range(max(tokens) + 1)]


def timed(work):
    start = time.thread_time_ns()
    result = work()
    return result, (time.thread_time_ns() - start) / 1e3


class XGrammar:
    def __init__(self, tokenizer, tokens, eos):
        self.info = xgrammar.TokenizerInfo(tokens, xgrammar.VocabType.RAW, vocab_size=len(tokens),
                                           stop_token_ids=[eos])

    def compile(self, schema):
        compiler = xgrammar.GrammarCompiler(self.info, max_threads=1, cache_enabled=False)
        return compiler.compile_json_schema(schema)

    def follow(self, compiled, ids, masks):
        matcher = xgrammar.GrammarMatcher(compiled)
        bitmask = xgrammar.allocate_token_bitmask(1, self.info.vocab_size)
        for id_ in ids:
            masks.append(timed(lambda: matcher.fill_next_token_bitmask(bitmask))[1])
            if not matcher.accept_token(id_):
                return False
        return True


class LLGuidance:
    def __init__(self, tokenizer, tokens, eos):
        self.tokenizer = llguidance.LLTokenizer(json.dumps(tokenizer), eos_token=eos)

    def compile(self, schema):
        grammar = llguidance.LLMatcher.grammar_from_json_schema(schema)
        return grammar, llguidance.LLMatcher(self.tokenizer, grammar, log_level=0)

    def follow(self, compiled, ids, masks):
        matcher = llguidance.LLMatcher(self.tokenizer, compiled[0], log_level=0)
        bitmask = llguidance.numpy.allocate_token_bitmask(1, self.tokenizer.vocab_size)
        for id_ in ids:
            masks.append(timed(
                lambda: llguidance.numpy.fill_next_token_bitmask(matcher, bitmask, 0))[1])
            if not matcher.consume_token(id_):
                return False
        return True


def measure(peer, entries, tokens_of_text):
    compiles, masks, refused = [], [], []
    for number, entry in enumerate(entries):
        schema = json.dumps(entry["schema"], ensure_ascii=False)
        each, passes, ids = [], [], tokens_of_text(entry["text"])
        for _ in range(PASSES):
            compiled, time_us = timed(lambda: peer.compile(schema))
            each.append(time_us / 1e3)
            passes.append([])
            obeys = peer.follow(compiled, ids, passes[-1])
        compiles.append(statistics.median(each))
        masks += map(statistics.median, zip(*passes))
        if not obeys:
            refused.append(number)
    print(f"  compile   median {statistics.median(compiles):8.3f}  mean "
          f"{statistics.mean(compiles):8.3f}  longest {max(compiles):8.3f} ms")
    print(f"  mask      median {statistics.median(masks):8.3f}  mean {statistics.mean(masks):8.3f}"
          f"  longest {max(masks):8.3f} us; {len(masks)} masks; texts refused: {refused}")


def main():
    folder = pathlib.Path(sys.argv[1])
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    default = pathlib.Path(__file__).parent.parent / "data/schemas/measured.jsonl"
    path = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else default
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    tokens = tokens_of(tokenizer)
    eos = next(token["id"] for token in tokenizer["added_tokens"] if "end" in token["content"])
    for kind in (XGrammar, LLGuidance):
        peer = kind(tokenizer, tokens, eos)
        encoder = llguidance.LLTokenizer(json.dumps(tokenizer))
        print(f"{kind.__name__}, {len(tokens)} ids")
        measure(peer, entries, encoder.tokenize_str)


if __name__ == "__main__":
    main()
