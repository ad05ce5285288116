#!/usr/bin/env python3
"""Makes a checkpoint of a distill's real shape with random weights, and what transformers makes of it.

Writes to OUT/NAME for each NAME (qwen-1.5b, llama-8b): config.json and bf16 safetensors;
reference.json with a prompt and positions in it; float32.bin and bfloat16.bin with the logits
there, [positions, vocabulary] in float32 each, of a float32 and of a bfloat16 model. Needs torch
with a GPU and transformers 5:

    python3 tests/worker/parity/make_reference.py OUT [NAME ...]
    THINKWIRE_PARITY=OUT parity_test
"""

import argparse
import json
import pathlib
import shutil

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

PROMPT_TOKENS = 600
# Prompts end at those below 520; the rest is decoded one token at a time.
POSITIONS = (0, 1, 15, 16, 17, 63, 64, 127, 255, 256, 300, 511, 520, 543, 544, 560, 575, 599)

# As in the config.json files of deepseek-ai/DeepSeek-R1-Distill-*.
MODELS = {
    'qwen-1.5b': (Qwen2ForCausalLM, Qwen2Config(
        vocab_size=151936, hidden_size=1536, intermediate_size=8960, num_hidden_layers=28,
        num_attention_heads=12, num_key_value_heads=2, max_position_embeddings=131072,
        rms_norm_eps=1e-6, tie_word_embeddings=False, use_sliding_window=False,
        bos_token_id=151646, eos_token_id=151643,
        rope_parameters=dict(rope_type='default', rope_theta=10000.0))),
    'llama-8b': (LlamaForCausalLM, LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, head_dim=128,
        max_position_embeddings=131072, rms_norm_eps=1e-5, tie_word_embeddings=False,
        bos_token_id=128000, eos_token_id=128001,
        rope_parameters=dict(rope_type='llama3', rope_theta=500000.0, factor=8.0,
                             low_freq_factor=1.0, high_freq_factor=4.0,
                             original_max_position_embeddings=8192))),
}


@torch.no_grad()
def randomise(model, generator):
    """Weights of a size at which attention, norms and biases all matter, rounded to bfloat16."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, device='cuda')
        if name.endswith('norm.weight'):
            value = 1 + 0.2 * noise
        elif name.endswith('.bias'):
            value = 0.5 * noise
        elif 'embed_tokens' in name:
            value = noise
        else:
            value = noise / parameter.shape[-1] ** 0.5
        parameter.copy_(value.to(torch.bfloat16))


@torch.no_grad()
def logits(model, prompt):
    return model(prompt[None]).logits[0, list(POSITIONS)].float().cpu().contiguous()


def make(name, root):
    cls, config = MODELS[name]
    generator = torch.Generator('cuda').manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device('cuda'):
        model = cls(config).eval()
    torch.set_default_dtype(torch.float32)
    randomise(model, generator)
    path = root / name
    shutil.rmtree(path, ignore_errors=True)
    model.save_pretrained(path, max_shard_size='4GB')
    prompt = torch.randint(0, config.vocab_size, (PROMPT_TOKENS,), generator=generator,
                           device='cuda')
    in_bfloat16 = logits(model, prompt)
    in_float32 = logits(model.float(), prompt)
    (path / 'bfloat16.bin').write_bytes(in_bfloat16.numpy().tobytes())
    (path / 'float32.bin').write_bytes(in_float32.numpy().tobytes())
    (path / 'reference.json').write_text(
        json.dumps(dict(prompt=prompt.tolist(), positions=POSITIONS)) + '\n')
    error = (in_bfloat16 - in_float32).pow(2).mean().sqrt().item()
    size = in_float32.pow(2).mean().sqrt().item()
    print(f'{name}: rms of the logits {size:.3f}, of the error in bfloat16 {error:.4f}')


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('directory', type=pathlib.Path)
    parser.add_argument('names', nargs='*', default=list(MODELS))
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    for name in args.names:
        make(name, args.directory)


if __name__ == '__main__':
    main()
