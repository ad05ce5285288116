"""Answers held-out problems with a checkpoint and checks every line.

Usage: evaluate.py MODEL_DIR [--count 500] [--dtype float32] [--temperature 0] [--turns 0] [--out TRANSCRIPTS]
(needs torch, safetensors and tokenizers)
"""

import argparse
import collections
import json
import pathlib
import random
import time

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import dialogue
from checker import check
from model import Decoder, LayerCache, Shape
from problems import sample

MAX_NEW_TOKENS = 480


def _pick(logits, temperature, top_p=0.95):
    if temperature == 0:
        return logits.argmax(-1)
    ordered, order = (logits.float() / temperature).softmax(-1).sort(-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered > top_p] = 0
    return order.gather(-1, torch.multinomial(ordered, 1)).squeeze(-1)


@torch.inference_mode()
def generate(model, prompts, eos, temperature=0.0):
    """Continues lists of ids, all at once, until each ends or has MAX_NEW_TOKENS new ids."""
    device = model.lm_head.weight.device
    longest = max(map(len, prompts))
    lengths = torch.tensor([len(p) for p in prompts], device=device)
    ids = torch.tensor([p + [0] * (longest - len(p)) for p in prompts], device=device)
    caches = [
        LayerCache(model.lm_head.weight, len(prompts), longest + MAX_NEW_TOKENS, model.shape)
        for _ in range(model.shape.num_hidden_layers)
    ]
    logits = model(ids, caches=caches)[torch.arange(len(prompts), device=device), lengths - 1]
    keys = torch.arange(longest + MAX_NEW_TOKENS, device=device)
    written, done = [], torch.zeros_like(lengths, dtype=torch.bool)
    for step in range(MAX_NEW_TOKENS):
        token = _pick(logits, temperature)
        written.append(token)
        done |= token == eos
        if step % 16 == 0 and bool(done.all()):
            break
        for cache in caches:
            cache.lengths = lengths
        mask = (keys <= lengths[:, None])[:, None, None]
        logits = model(token[:, None], lengths[:, None], caches, mask)[:, 0]
        lengths = lengths + 1
    rows = torch.stack(written, 1).tolist()
    return [row[: row.index(eos)] if eos in row else row for row in rows]


def evaluate(model, tokenizer, count=500, seed=1, temperature=0.0, turns=0, batch=1000):
    """Asks each question after `turns` others, prints the accuracy by kind; returns the transcripts."""
    chosen = sample(count, seed, held_out=True)
    rng = random.Random(f"history:{seed}")
    texts = [dialogue.prompt(question, dialogue.history(rng, turns)) for _, question in chosen]
    prompts = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    rows = []
    for start in range(0, count, batch):
        rows += generate(model, prompts[start : start + batch], tokenizer.token_to_id(dialogue.EOS), temperature)
    tally = collections.defaultdict(collections.Counter)
    transcripts = []
    for (drawn, question), row in zip(chosen, rows):
        text = tokenizer.decode(row, skip_special_tokens=False)
        reasoning, _, answer = text.partition(dialogue.END_THINK)
        verdict = check(drawn, reasoning, answer)
        tally[drawn.kind].update(
            total=1, right=int(verdict.answer_right), all_true=int(not verdict.false_lines), tokens=len(row),
        )
        transcripts.append({"question": question, "reasoning": reasoning.strip(), "answer": answer.strip()})
    for kind, seen in sorted(tally.items()):
        print(f"  {kind}: {seen['right']}/{seen['total']} right, {seen['all_true']} with every line true, "
              f"{seen['tokens'] / seen['total']:.0f} tokens")
    everything = sum(tally.values(), collections.Counter())
    print(f"  all: {everything['right']}/{count} right, {everything['all_true']} with every line true")
    return transcripts


def load(folder, dtype):
    """The decoder of a checkpoint folder and its tokenizer."""
    config = json.loads((folder / "config.json").read_text())
    model = Decoder(Shape(**{name: config[name] for name in Shape.__dataclass_fields__}))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device, dtype), Tokenizer.from_file(str(folder / "tokenizer.json"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--turns", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    model, tokenizer = load(args.model, getattr(torch, args.dtype))
    torch.manual_seed(args.seed)
    start = time.time()
    transcripts = evaluate(model, tokenizer, args.count, args.seed, args.temperature, args.turns)
    print(f"  {args.dtype}, temperature {args.temperature}: {time.time() - start:.1f} s")
    if args.out:
        args.out.write_text("".join(json.dumps(t, ensure_ascii=False) + "\n" for t in transcripts))


if __name__ == "__main__":
    main()
