#!/usr/bin/env python3
"""Writes tests/data/gguf_blocks.gguf: random blocks of every packed format that the worker reads,
and what gguf-py makes of them in float32.

Usage: make_gguf_blocks.py OUT, with numpy and gguf (made by gguf 0.19.0) from PyPI.
A tensor "q4_k" [1, N] holds the blocks, "q4_k.f32" [1, N] their values.
"""
import sys

import gguf
import numpy

ELEMENTS = 1280
# Where the blocks of a format keep their f16 numbers.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0],
}


def random_blocks(rng, kind, halves):
    """Bytes of any value, but halves that are finite, subnormal ones and zeros among them."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (ELEMENTS // elements, size), dtype=numpy.uint8)
    for at in halves:
        half = rng.integers(0, 1 << 16, len(blocks), dtype=numpy.uint16)
        half[(half & 0x7C00) == 0x7C00] &= 0x83FF
        blocks[:, at:at + 2] = half.view(numpy.uint8).reshape(-1, 2)
    return blocks.reshape(1, -1)


def main(out):
    rng = numpy.random.default_rng(16)
    writer = gguf.GGUFWriter(out, "blocks")
    for name, halves in HALVES.items():
        kind = gguf.GGMLQuantizationType[name]
        blocks = random_blocks(rng, kind, halves)
        writer.add_tensor(name.lower(), blocks, raw_dtype=kind)
        values = gguf.quants.dequantize(blocks, kind).astype(numpy.float32)
        writer.add_tensor(name.lower() + ".f32", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(sys.argv[1])
