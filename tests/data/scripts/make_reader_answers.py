#!/usr/bin/env python3
"""What transformers answers with the files that `thinkwire-worker quantize` writes.

Usage: make_reader_answers.py FOLDER WORKER OUT, with torch, transformers, accelerate, gguf and
compressed-tensors from PyPI (tried with 2.15.0, 5.24.0, 1.15.0, 0.19.0 and 0.20.1). Has the program
WORKER write FOLDER in each format; a folder in FP8 blocks is read by transformers, GGUF by
transformers through gguf, AWQ by compressed-tensors' reader of AutoAWQ. Every matrix is rounded
once to bf16, as a worker does, and the rest is float32. Writes to OUT for each format, and for
FOLDER as it is: ids of the prompt, greedy ids and their log-probabilities (a natural logarithm).
Fails where a tensor is missing or has another shape, a vector holds other numbers, or a tokenizer
gives other ids. QuantizeTest (tests/integration) asks a worker the same.
"""
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from compressed_tensors.entrypoints.convert.converters import AutoAWQConverter
from safetensors.torch import load_file

FORMATS = ("awq-gemm", "fp8-block", "gguf-q8_0", "gguf-q4_k_m")
# Noise, so that the bundled model is sure of no token.
PROMPT = [(37 * i * i + 11 * i) % 600 for i in range(40)]
CHAT = "<｜begin▁of▁sentence｜><｜User｜>What is 27+48?<｜Assistant｜><think>\n"
TEXTS = (CHAT, " 12345 tests'll ünïcode\r\n\n  你好 🙂\tx", "<think>\na</think>b")
TOKENS = 24


def dense(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def read_awq(folder, original):
    """The model, its matrices as compressed-tensors reads AutoAWQ's."""
    tensors = {}
    for file in folder.glob("*.safetensors"):
        tensors.update(load_file(file))
    converter = AutoAWQConverter.from_pretrained(str(folder))
    tensors = converter.process(tensors)
    state = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        if kind == "weight_packed":
            shape = torch.Size(tensors[f"{module}.weight_shape"].tolist())
            scale = tensors[f"{module}.weight_scale"].float()
            zero = unpack_from_int32(tensors[f"{module}.weight_zero_point"], 4,
                                     torch.Size([shape[0], scale.shape[1]]), 0)
            group = shape[1] // scale.shape[1]
            q = unpack_from_int32(tensor, 4, shape).float()
            state[f"{module}.weight"] = ((q - zero.float().repeat_interleave(group, 1))
                                         * scale.repeat_interleave(group, 1))
        elif not kind.startswith("weight_"):
            state[name] = tensor.float()
    model = dense(original)
    model.load_state_dict(state)
    return model


def read(form, path, original):
    """The model and its tokenizer."""
    if form.startswith("gguf"):
        named = {"gguf_file": path.name}
        # What transformers does not read of a file of qwen2: how wide heads are, where that is no
        # even share, and which tokens are control tokens.
        config = transformers.AutoConfig.from_pretrained(original)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, dtype=torch.float32, config=config, **named)
        return model, transformers.AutoTokenizer.from_pretrained(original)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    if form == "awq-gemm":
        return read_awq(path, original), tokenizer
    if form == "fp8-block":
        config = transformers.FineGrainedFP8Config(dequantize=True)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, quantization_config=config)
        return model, tokenizer
    return dense(path), tokenizer


def check(form, model, tokenizer, original, original_tokenizer):
    """Prints how far the matrices are from the original's."""
    tensors = dict(model.named_parameters())
    error = magnitude = 0.0
    for name, weight in original.named_parameters():
        other = tensors.pop(name)
        assert other.shape == weight.shape and other.dtype == torch.float32, name
        if weight.dim() == 1:
            assert torch.equal(other, weight), name
        elif not torch.equal(other, weight):
            error += (other - weight).abs().sum(dtype=torch.float64).item()
            magnitude += weight.abs().sum(dtype=torch.float64).item()
    assert not tensors, list(tensors)
    for text in TEXTS:
        ids = [t(text, add_special_tokens=False)["input_ids"]
               for t in (original_tokenizer, tokenizer)]
        assert ids[0] == ids[1], (text, ids)
    print(form, f"mean relative error {error / magnitude if magnitude else 0:.4f}")


@torch.no_grad()
def answer(model, tokenizer, end):
    for weight in model.parameters():
        weight.copy_(weight.to(torch.bfloat16))
    ids, logprobs = [], []
    margin = math.inf
    while len(ids) < TOKENS and ids[-1:] != [end]:
        last = model(torch.tensor([PROMPT + ids])).logits[0, -1].double()
        best = last.topk(2).values
        margin = min(margin, (best[0] - best[1]).item())
        ids.append(int(last.argmax()))
        logprobs.append(round(last.log_softmax(-1)[ids[-1]].item(), 6))
    print("  ", repr(tokenizer.decode(ids)), f"least margin {margin:.4f}", logprobs)
    return {"prompt_ids": PROMPT, "ids": ids, "logprobs": logprobs}


def main(folder, worker, out):
    folder = pathlib.Path(folder)
    original, original_tokenizer = read("none", folder, folder)
    end = original.config.eos_token_id
    answers = {}
    with tempfile.TemporaryDirectory() as work:
        for form in ("none", *FORMATS):
            path = folder
            if form != "none":
                path = pathlib.Path(work) / (form + ".gguf" if form.startswith("gguf") else form)
                subprocess.run([worker, "quantize", folder, path, "--format", form], check=True)
            model, tokenizer = read(form, path, folder)
            check(form, model, tokenizer, original, original_tokenizer)
            answers[form] = answer(model.eval(), tokenizer, end)
    pathlib.Path(out).write_text(json.dumps(answers, indent=None) + "\n", encoding="utf-8")


main(*sys.argv[1:])
