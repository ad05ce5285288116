#!/usr/bin/env python3
"""Writes a GGUF file of noise in the shape of a model folder, for measurements: llama.cpp and
thinkwire-worker load it alike.

Usage: random_gguf.py FOLDER OUT [KIND], with numpy and gguf (tried with gguf 0.19.0) from PyPI.
FOLDER has config.json and the tokenizer's files, as `thinkwire-bench folder` makes them; Qwen2.
KIND is q8_0, q4_k_m (the default) or bf16. Blocks are random bits under scales of which a matrix
keeps the size of what it multiplies.
"""
import math
import pathlib
import sys

import gguf
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "data" / "scripts"))

import make_gguf  # noqa: E402, found by the line above

TYPES = gguf.GGMLQuantizationType


def blocks(kind, count, width, noise):
    """`count` blocks, [count, bytes]; `width` is the deviation that weights get."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    made = noise.integers(0, 256, (count, size), dtype=numpy.uint8)

    def put(at, value):
        made[:, at:at + 2] = numpy.frombuffer(numpy.float16(value).tobytes(), numpy.uint8)

    if kind == TYPES.Q8_0:
        put(0, width / 74)
    elif kind == TYPES.Q4_K:  # scales and mins of 32 to 63 and alike, means of some 7.5 steps
        made[:, 4:16] = 0xAA
        put(0, width / (42 * 4.6))
        put(2, 7.5 * width / (42 * 4.6))
    elif kind == TYPES.Q6_K:
        put(208, width / (74 * 18.5))
    return made


def matrix(kind, rows, cols, noise):
    width = 1 / math.sqrt(cols)
    if kind == TYPES.BF16:
        values = noise.uniform(-1.7 * width, 1.7 * width, rows * cols).astype(numpy.float32)
        return (values.view(numpy.uint32) >> 16).astype(numpy.uint16).view(numpy.uint8)
    return blocks(kind, rows * cols // gguf.GGML_QUANT_SIZES[kind][0], width, noise)


def kind_of(name, layer, layers, kind):
    """Of a matrix, as llama.cpp's quantiser chooses."""
    if kind != "q4_k_m":
        return TYPES.Q8_0 if kind == "q8_0" else TYPES.BF16
    more = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    if name == "output" or (name in ("attn_v", "ffn_down") and more):
        return TYPES.Q6_K
    return TYPES.Q4_K


def add_matrix(writer, name, kind, rows, cols, noise):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    data = matrix(kind, rows, cols, noise).reshape(rows, cols // elements * size)
    writer.add_tensor(f"{name}.weight", data, raw_dtype=kind)


def add_layer(writer, config, layer, kind, noise):
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    shapes = {"attn_q": (queries, hidden), "attn_k": (keys, hidden), "attn_v": (keys, hidden),
              "attn_output": (hidden, queries), "ffn_gate": (ffn, hidden),
              "ffn_up": (ffn, hidden), "ffn_down": (hidden, ffn)}
    for name, (rows, cols) in shapes.items():
        chosen = kind_of(name, layer, config["num_hidden_layers"], kind)
        add_matrix(writer, f"blk.{layer}.{name}", chosen, rows, cols, noise)
    for name in ("attn_q", "attn_k", "attn_v"):
        writer.add_tensor(f"blk.{layer}.{name}.bias", numpy.zeros(shapes[name][0], numpy.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.{layer}.{name}.weight", numpy.ones(hidden, numpy.float32))


def main(folder, out, kind="q4_k_m"):
    folder = pathlib.Path(folder)
    config = make_gguf.read_json(folder / "config.json")
    if config["model_type"] != "qwen2" or kind not in ("q8_0", "q4_k_m", "bf16"):
        sys.exit(__doc__)
    writer = gguf.GGUFWriter(out, config["model_type"], use_temp_file=True)
    make_gguf.add_config(writer, config)
    make_gguf.add_tokenizer(writer, folder, config)
    noise = numpy.random.default_rng(1)
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    add_matrix(writer, "token_embd", kind_of("token_embd", 0, 1, kind), vocabulary, hidden, noise)
    add_matrix(writer, "output", kind_of("output", 0, 1, kind), vocabulary, hidden, noise)
    writer.add_tensor("output_norm.weight", numpy.ones(hidden, numpy.float32))
    for layer in range(config["num_hidden_layers"]):
        add_layer(writer, config, layer, kind, noise)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(*sys.argv[1:])
