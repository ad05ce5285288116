#!/usr/bin/env python3
"""Writes tests/data/mla_golden.json: transformers' DeepseekV3Attention in float32 on random weights.

Run with PyPI torch and transformers (made with 2.15.0 and 5.24.0). Weights are short bf16 numbers,
so that our bf16 weights are the same ones. Positions go past yarn's original length, and its two
scales differ, so that both what multiplies the rotations and what multiplies the scores is not 1.
"with_latents" has latents of queries, "without" has none and rotates halves instead of pairs.
"""

import json
import pathlib

import torch
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3Attention, DeepseekV3RotaryEmbedding)

TOKENS = 40
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=16,
            beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=0.5)
SHAPE = dict(
    hidden_size=32, num_attention_heads=4, num_key_value_heads=4, kv_lora_rank=24,
    qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12, num_hidden_layers=1,
    intermediate_size=16, moe_intermediate_size=8, n_routed_experts=4, n_group=1, topk_group=1,
    num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=1, vocab_size=8,
    max_position_embeddings=64, rms_norm_eps=1e-2)


def short(values):
    """Multiples of 1/64 that bf16 holds."""
    return (64 * values).round().clamp(-255, 255) / 64


def numbers(values):
    """As short as float32 allows."""
    return [float(f"{value:.9g}") for value in values.flatten().tolist()]


def make(q_lora_rank, interleave):
    config = DeepseekV3Config(
        **SHAPE, q_lora_rank=q_lora_rank, rope_interleave=interleave, rope_parameters=dict(YARN))
    config._attn_implementation = "eager"
    attention = DeepseekV3Attention(config, 0).to(torch.float32).eval()
    weights = {}
    for name, parameter in attention.named_parameters():
        noise = torch.randn(parameter.shape)
        value = 1 + 0.2 * noise if "norm" in name else 1.5 * noise / parameter.shape[-1] ** 0.5
        parameter.copy_(short(value))
        weights[name] = numbers(parameter)
    x = short(torch.randn(TOKENS, config.hidden_size))
    positions = torch.arange(TOKENS)[None]
    mask = torch.full((TOKENS, TOKENS), float("-inf")).triu(1)[None, None]
    y, _ = attention(x[None], DeepseekV3RotaryEmbedding(config)(x, positions), mask)
    written = {**SHAPE, "model_type": "deepseek_v3", "rope_interleave": interleave,
               "routed_scaling_factor": 1.0, "rope_parameters": YARN}
    if q_lora_rank is not None:
        written["q_lora_rank"] = q_lora_rank
    return {"config": written, "weights": weights, "x": numbers(x), "y": numbers(y)}


@torch.no_grad()
def main():
    torch.manual_seed(19)
    golden = {"with_latents": make(20, True), "without": make(None, False)}
    path = pathlib.Path(__file__).parent.parent / "mla_golden.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
