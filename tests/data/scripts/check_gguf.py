#!/usr/bin/env python3
"""Reads with gguf-py the GGUF file that `thinkwire-worker quantize` has made of a folder, beside the
folder itself.

Usage: check_gguf.py FOLDER FILE, with numpy and gguf (tried with gguf 0.19.0) from PyPI. Prints the
types and the mean relative error of the matrices, which the command has printed too; fails where a
tensor is missing, has another shape or, being a vector, other numbers, and where a Q8_0 differs in a
byte from gguf-py's own.
"""
import collections
import pathlib
import sys

import gguf
import numpy

import make_gguf


def main(folder, file):
    folder = pathlib.Path(folder)
    config = make_gguf.read_json(folder / "config.json")
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    made = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    made.pop("rope_freqs.weight", None)
    types = collections.Counter()
    error = magnitude = 0.0
    for name, values in make_gguf.tensors(folder):
        part = name.split(".")[-2]
        if config["model_type"] == "llama" and part in heads:
            values = make_gguf.permuted(values, heads[part])
        for long, short in make_gguf.NAMES.items():
            name = name.replace(long, short)
        tensor = made.pop(name)
        read = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(values.shape)
        types[tensor.tensor_type.name] += 1
        if values.ndim == 1:
            assert numpy.array_equal(read, values), name
            continue
        if tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0:
            own = gguf.quants.quantize(numpy.ascontiguousarray(values), tensor.tensor_type)
            assert numpy.array_equal(own.reshape(-1), tensor.data.reshape(-1)), name
        error += numpy.abs(read.astype(numpy.float64) - values).sum()
        magnitude += numpy.abs(values).sum(dtype=numpy.float64)
    assert not made, list(made)
    print(dict(types), f"mean relative error {error / magnitude:.4f}")


main(*sys.argv[1:])
