"""The Qwen2 decoder in plain PyTorch: for training, and for generation with a key-value cache."""

import json
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    """The sizes of the bundled model, under their names in config.json."""

    vocab_size: int = 640
    hidden_size: int = 256
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    head_dim: int = 128
    intermediate_size: int = 640
    max_position_embeddings: int = 4096
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6


class RmsNorm(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape.hidden_size))
        self.eps = shape.rms_norm_eps

    def forward(self, x):
        scaled = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * scaled.to(x.dtype)


def _rotate(x, cos, sin):
    """Half rotation: element i is paired with i + head_dim / 2."""
    low, high = x.float().chunk(2, dim=-1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.head_dim = shape.head_dim
        queries, keys = (n * shape.head_dim for n in (shape.num_attention_heads, shape.num_key_value_heads))
        self.q_proj = nn.Linear(shape.hidden_size, queries)
        self.k_proj = nn.Linear(shape.hidden_size, keys)
        self.v_proj = nn.Linear(shape.hidden_size, keys)
        self.o_proj = nn.Linear(queries, shape.hidden_size, bias=False)

    def forward(self, x, rotation, cache, mask):
        q, k, v = (
            p(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for p in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k, v = _rotate(q, *rotation).to(v.dtype), _rotate(k, *rotation).to(v.dtype), v
        if cache is not None:
            k, v = cache.append(k, v)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.input_layernorm = RmsNorm(shape)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = RmsNorm(shape)
        self.mlp = Mlp(shape)

    def forward(self, x, rotation, cache, mask):
        x = x + self.self_attn(self.input_layernorm(x), rotation, cache, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class LayerCache:
    """Keys and values [sequences, heads, tokens, head_dim]; the decoder sets where new ones go."""

    def __init__(self, like, sequences, tokens, shape):
        size = (sequences, shape.num_key_value_heads, tokens, shape.head_dim)
        self.k, self.v = like.new_zeros(size), like.new_zeros(size)
        self.rows = torch.arange(sequences, device=like.device)
        self.lengths = None  # where each sequence's next token goes; None while the prompts are read

    def append(self, k, v):
        if self.lengths is None:
            self.k[:, :, : k.shape[2]], self.v[:, :, : v.shape[2]] = k, v
            return k, v
        self.k[self.rows, :, self.lengths] = k[:, :, 0]
        self.v[self.rows, :, self.lengths] = v[:, :, 0]
        return self.k, self.v


class Decoder(nn.Module):
    """REQUIRES: a prompt pass (positions from 0, causal) or steps of one token over caches."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.model.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))
        self.model.norm = RmsNorm(shape)
        self.lm_head = nn.Linear(shape.hidden_size, shape.vocab_size, bias=False)
        self._initialise()

    def _initialise(self):
        depth = (2 * self.shape.num_hidden_layers) ** -0.5
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:
                is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(parameter, std=0.02 * (depth if is_output else 1.0))

    def rotation(self, positions):
        """cos and sin [..., 1, tokens, head_dim / 2] in float32."""
        half = torch.arange(0, self.shape.head_dim, 2, device=positions.device, dtype=torch.float32)
        angles = positions.float().unsqueeze(-1) * self.shape.rope_theta ** (-half / self.shape.head_dim)
        return angles.cos().unsqueeze(-3), angles.sin().unsqueeze(-3)

    def forward(self, ids, positions=None, caches=None, mask=None):
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.model.embed_tokens(ids)
        rotation = self.rotation(positions)
        for i, layer in enumerate(self.model.layers):
            x = layer(x, rotation, caches[i] if caches else None, mask)
        return self.lm_head(self.model.norm(x))


def config_json(shape, bos, eos):
    """config.json in the layout of the published distills."""
    config = {
        "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": bos,
        "eos_token_id": eos, "hidden_act": "silu", "initializer_range": 0.02,
        "max_window_layers": shape.num_hidden_layers, "model_type": "qwen2", "rope_scaling": None,
        "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "use_cache": True, "use_sliding_window": False, **asdict(shape),
    }
    return json.dumps(dict(sorted(config.items())), indent=2) + "\n"


def generation_config_json(bos, eos):
    """generation_config.json with the sampling that DeepSeek recommends."""
    config = {
        "_from_model_config": True, "bos_token_id": bos, "eos_token_id": eos, "do_sample": True,
        "temperature": 0.6, "top_p": 0.95,
    }
    return json.dumps(config, indent=2) + "\n"
