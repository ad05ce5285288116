#!/usr/bin/env python3
"""Writes tests/data/nf4.safetensors: matrices as bitsandbytes keeps them in four bits, and what its
own code makes of them.

Usage: make_nf4.py OUT, with torch, bitsandbytes and safetensors from PyPI (made by torch 2.15.0 and
bitsandbytes 0.50.2, on a CPU). A matrix "x" has the tensors "x.weight", "x.weight.absmax", … of a
checkpoint that transformers has saved, and "x.w" BF16 [N, K], what it stands for.
"""
import sys

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

# Name, rows, columns, block, whether the scales are quantised again. "up" is as large as that
# projection of tests/data/models/qwen2; the blocks of "odd" go from one row into the next.
MATRICES = [("up", 112, 64, 64, True), ("odd", 20, 1000, 64, True), ("plain", 12, 128, 128, False)]


def main(out):
    torch.manual_seed(16)
    tensors = {}
    for name, rows, columns, block, nested in MATRICES:
        weight = (torch.randn(rows, columns) * 0.05).to(torch.bfloat16)
        packed, state = bnb.quantize_4bit(weight, blocksize=block, compress_statistics=nested,
                                          quant_type="nf4")
        tensors[f"{name}.weight"] = packed
        for key, value in state.as_dict(packed=True).items():
            tensors[f"{name}.weight.{key}"] = value.contiguous()
        tensors[f"{name}.w"] = bnb.dequantize_4bit(packed, state).contiguous()
    save_file(tensors, out)


main(sys.argv[1])
