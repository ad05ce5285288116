#!/usr/bin/env python3
"""Writes a Hugging Face folder of a Qwen2 or Llama as a GGUF file, by gguf-py's own writer and
quantisers: a second way to such a file beside the tests' own.

Usage: make_gguf.py FOLDER OUT [TYPE], with numpy and gguf (tried with gguf 0.19.0) from PyPI.
TYPE is a format that gguf-py writes, as F16, BF16, Q8_0 (the default) or Q4_0; matrices of which
the rows are no whole blocks become F16. Weights are BF16 in safetensors; no scaled rope.
"""
import json
import pathlib
import struct
import sys

import gguf
import numpy

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "model.layers": "blk",
}
PRE = {"qwen2": "deepseek-r1-qwen", "llama": "llama-bpe"}


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def tensors(folder):
    """Yields name and float32 values."""
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        for name, entry in json.loads(data[8:8 + length]).items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            bits = numpy.frombuffer(data, numpy.uint16, (end - begin) // 2, 8 + length + begin)
            values = (bits.astype(numpy.uint32) << 16).view(numpy.float32)
            yield name, values.reshape(entry["shape"])


def permuted(values, heads):
    """Queries or keys in the order of rows that llama.cpp rotates in."""
    shape = values.shape
    halves = values.reshape(heads, 2, shape[0] // heads // 2, *shape[1:])
    return halves.swapaxes(1, 2).reshape(shape)


def add_config(writer, config):
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def add_tokenizer(writer, folder, config):
    tokenizer = read_json(folder / "tokenizer.json")
    settings = read_json(folder / "tokenizer_config.json")
    kinds = gguf.TokenType
    tokens = [(f"[PAD{i}]", kinds.UNUSED) for i in range(config["vocab_size"])]
    for token, i in tokenizer["model"]["vocab"].items():
        tokens[i] = (token, kinds.NORMAL)
    for added in tokenizer["added_tokens"]:
        special = added["special"] or added["content"].startswith(("<｜", "<|"))
        kind = kinds.CONTROL if special else kinds.USER_DEFINED
        tokens[added["id"]] = (added["content"], kind)
    ids = {token: i for i, (token, _) in enumerate(tokens)}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE[config["model_type"]])
    writer.add_token_list([token for token, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m)
                             for m in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(ids[settings["bos_token"]])
    writer.add_eos_token_id(ids[settings["eos_token"]])
    writer.add_chat_template(settings["chat_template"])


def add_tensors(writer, folder, config, kind):
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    for name, values in tensors(folder):
        part = name.split(".")[-2]
        if config["model_type"] == "llama" and part in heads:
            values = permuted(values, heads[part])
        for long, short in NAMES.items():
            name = name.replace(long, short)
        stored = gguf.GGMLQuantizationType.F32
        if values.ndim == 2:
            whole = values.shape[1] % gguf.GGML_QUANT_SIZES[kind][0] == 0
            stored = kind if whole else gguf.GGMLQuantizationType.F16
        writer.add_tensor(name, gguf.quants.quantize(numpy.ascontiguousarray(values), stored),
                          raw_dtype=stored)


def main(folder, out, kind="Q8_0"):
    folder = pathlib.Path(folder)
    config = read_json(folder / "config.json")
    if config.get("rope_scaling") or "rope_theta" not in config:
        sys.exit("a scaled rope is not written")
    writer = gguf.GGUFWriter(out, config["model_type"])
    add_config(writer, config)
    add_tokenizer(writer, folder, config)
    add_tensors(writer, folder, config, gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
