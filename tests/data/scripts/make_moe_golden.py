#!/usr/bin/env python3
"""Writes tests/data/moe_golden.json: transformers' DeepseekV3MoE in float32 on random weights.

Run with PyPI torch and transformers (made with 2.15.0 and 5.24.0). Weights are bf16 numbers, so
that our bf16 weights are the same ones. No token has equal scores: which of two that tie torch
takes is not said.
"""

import json
import pathlib

import torch
from transformers.models.deepseek_v3.configuration_deepseek_v3 import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

HIDDEN, FFN, EXPERTS, TOKENS = 16, 8, 16, 48


def bf16(*shape):
    return (0.5 * torch.randn(*shape)).to(torch.bfloat16).to(torch.float32)


def main():
    torch.manual_seed(19)
    config = DeepseekV3Config(
        hidden_size=HIDDEN, moe_intermediate_size=FFN, n_routed_experts=EXPERTS, n_group=4,
        topk_group=2, num_experts_per_tok=4, n_shared_experts=2, routed_scaling_factor=2.5,
        norm_topk_prob=True)
    config._experts_implementation = "eager"
    moe = DeepseekV3MoE(config).to(torch.float32).eval()
    with torch.no_grad():
        for parameter in moe.parameters():
            parameter.copy_(bf16(*parameter.shape))
        moe.gate.e_score_correction_bias.copy_(0.2 * torch.randn(EXPERTS))
        x = torch.randn(TOKENS, HIDDEN)
        _, weights, ids = moe.gate(x)
        ids, order = ids.sort(dim=-1)
        golden = {
            "hidden_size": HIDDEN, "moe_intermediate_size": FFN, "x": x, "ids": ids,
            "weights": weights.gather(1, order), "y": moe(x[None])[0],
            "gate": moe.gate.weight, "correction_bias": moe.gate.e_score_correction_bias,
            "gate_up": moe.experts.gate_up_proj, "down": moe.experts.down_proj,
            "shared_gate": moe.shared_experts.gate_proj.weight,
            "shared_up": moe.shared_experts.up_proj.weight,
            "shared_down": moe.shared_experts.down_proj.weight}
    flat = {name: value.flatten().tolist() if torch.is_tensor(value) else value
            for name, value in golden.items()}
    path = pathlib.Path(__file__).parent.parent / "moe_golden.json"
    path.write_text(json.dumps(flat, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
