"""Trains the bundled model from scratch on one GPU and writes its checkpoint.

Usage: train.py MODEL_DIR --out OUT_DIR [--steps N] (needs torch, safetensors and tokenizers;
MODEL_DIR holds tokenizer.json). Everything random is drawn from --seed.
"""

import argparse
import math
import os
import pathlib
import random
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import dialogue
from evaluate import evaluate, load
from model import Decoder, Shape, config_json, generation_config_json

BUCKETS = (128, 256, 448, 1024, 2048)  # row lengths: texts of similar length share a batch
DRAWS = 256
IGNORED = -100
WARMUP_STEPS = 300


class Batches(IterableDataset):
    """An endless stream of (ids, targets) batches; each worker has its own seeded stream."""

    def __init__(self, tokenizer_file, tokens_per_batch, seed):
        self.tokenizer_file = tokenizer_file
        self.tokens_per_batch = tokens_per_batch
        self.seed = seed

    def __iter__(self):
        worker = get_worker_info()
        rng = random.Random(f"{self.seed}:{worker.id if worker else 0}")
        tokenizer = Tokenizer.from_file(self.tokenizer_file)
        waiting = {length: [] for length in BUCKETS}
        while True:
            prompts, completions = zip(*(dialogue.draw(rng) for _ in range(DRAWS)))
            prompts = tokenizer.encode_batch(prompts, add_special_tokens=False)
            completions = tokenizer.encode_batch(completions, add_special_tokens=False)
            for prompt, completion in zip(prompts, completions):
                size = len(prompt.ids) + len(completion.ids)
                length = next((n for n in BUCKETS if size <= n + 1), None)
                if length is None:
                    continue
                waiting[length].append((prompt.ids, completion.ids))
                if len(waiting[length]) == self.tokens_per_batch // length:
                    yield self._batch(waiting[length], length)
                    waiting[length] = []

    @staticmethod
    def _batch(texts, length):
        ids = torch.zeros(len(texts), length, dtype=torch.int16)
        targets = torch.full((len(texts), length), IGNORED, dtype=torch.int16)
        for row, (prompt, completion) in enumerate(texts):
            both = torch.tensor(prompt + completion, dtype=torch.int16)
            ids[row, : len(both) - 1] = both[:-1]
            targets[row, len(prompt) - 1 : len(both) - 1] = both[len(prompt) :]
        return ids, targets


def _optimizer(model, rate):
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=torch.cuda.is_available())


def _rate(step, steps, peak):
    if step < WARMUP_STEPS:
        return peak * (step + 1) / WARMUP_STEPS
    progress = (step - WARMUP_STEPS) / max(1, steps - WARMUP_STEPS)
    return peak * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(model, batches, args):
    device = next(model.parameters()).device
    optimizer = _optimizer(model, args.rate)

    def loss_of(ids, targets):
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(ids)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)

    if device.type == "cuda":
        loss_of = torch.compile(loss_of, dynamic=False)
    start = time.time()
    waited = 0.0
    for step in range(args.steps):
        asked = time.time()
        ids, targets = next(batches)
        waited += time.time() - asked
        loss = loss_of(ids.to(device).long(), targets.to(device).long())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, args.steps, args.rate)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % args.log_every == 0 or step + 1 == args.steps:
            print(f"step {step} loss {loss.item():.5f} rows of {ids.shape[1]}, {time.time() - start:.1f} s, "
                  f"waited for data {waited:.1f} s", flush=True)


def save(model, tokenizer, folder):
    """Writes the checkpoint, the weights rounded to bf16."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: p.detach().to("cpu", torch.bfloat16).contiguous() for name, p in model.named_parameters()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    bos, eos = (tokenizer.token_to_id(t) for t in (dialogue.BOS, dialogue.EOS))
    (folder / "config.json").write_text(config_json(model.shape, bos, eos))
    (folder / "generation_config.json").write_text(generation_config_json(bos, eos))
    tokenizer.save(str(folder / "tokenizer.json"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=11000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--tokens_per_batch", type=int, default=32768)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--log_every", type=int, default=500)
    parser.add_argument("--eval_count", type=int, default=500)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    tokenizer_file = str(args.model / "tokenizer.json")
    stream = Batches(tokenizer_file, args.tokens_per_batch, args.seed)
    batches = iter(DataLoader(stream, batch_size=None, num_workers=args.workers, prefetch_factor=8))
    next(batches)  # starts the workers before the GPU is touched
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Decoder(Shape()).to(device)
    print(f"{sum(p.numel() for p in model.parameters())} parameters on {device}", flush=True)
    train(model, batches, args)
    save(model, Tokenizer.from_file(tokenizer_file), args.out)
    torch.set_float32_matmul_precision("highest")
    for dtype, temperature in ((torch.float32, 0.0), (torch.bfloat16, 0.0), (torch.bfloat16, 0.6)):
        for turns in (0, 12):
            print(f"held-out problems after {turns} turns, {dtype}, temperature {temperature}:")
            evaluate(*load(args.out, dtype), args.eval_count, temperature=temperature, turns=turns)


if __name__ == "__main__":
    main()
