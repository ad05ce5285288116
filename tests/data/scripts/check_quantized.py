#!/usr/bin/env python3
"""Reads tests/data/quantized.safetensors with the formats' own code and compares the numbers.

Usage: check_quantized.py FILE AUTOAWQ GPTQMODEL, with torch, safetensors and compressed-tensors
from PyPI (read with 2.15.0, 0.8.0, 0.20.1) and two source trees: AutoAWQ's (0.2.9) and GPTQModel's
(of 2026-08-23), of which single files are loaded.
"""
import importlib.util
import json
import sys
import types

import torch
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from safetensors import safe_open


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def function(path, name, names):
    """One function of a file whose other parts cannot be loaded here."""
    import ast
    tree = ast.parse(open(path).read())
    found = [node for node in tree.body if getattr(node, "name", "") == name]
    for node in found:
        node.returns = None
        node.decorator_list = []
        for argument in node.args.args:
            argument.annotation = None
    exec(compile(ast.Module(found, []), path, "exec"), names)
    return names[name]


def read_awq(autoawq, t):
    utils = load(autoawq + "/awq/utils/packing_utils.py", "packing_utils")
    q, z = utils.unpack_awq(t["qweight"], t["qzeros"], 4)
    q, z = utils.reverse_awq_order(q, z, 4)
    return (q & 15).T, (z & 15).T, t["scales"].T


def read_gptq(gptqmodel, t, config):
    """convert_gptq_v1_to_v2_format_module, then what dequantize_weight of its QuantLinear takes
    apart."""
    bits = config["bits"]
    module = types.SimpleNamespace(qzeros=torch.nn.Parameter(t["qzeros"], False), bits=bits,
                                   pack_dtype=torch.int32,
                                   qzero_format=lambda format: None)
    if config.get("checkpoint_format") != "gptq_v2":
        names = {"torch": torch, "log": types.SimpleNamespace(info=types.SimpleNamespace(
            once=lambda text: None)), "BaseQuantLinear": object}
        convert = function(gptqmodel + "/gptqmodel/utils/model.py",
                           "convert_gptq_v1_to_v2_format_module", names)
        convert(module, bits, torch.int32)
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    most = (1 << bits) - 1
    z = (module.qzeros.data.unsqueeze(2) >> shifts) & most
    q = (t["qweight"].unsqueeze(1) >> shifts.reshape(1, -1, 1)) & most
    return q.reshape(-1, q.shape[-1]).T, z.reshape(z.shape[0], -1).T, t["scales"].T


def read_compressed(t, config):
    args = config["config_groups"]["group_0"]["weights"]
    bits, shape = args["num_bits"], torch.Size(t["weight_shape"].tolist())
    middle = 1 << (bits - 1)
    q = unpack_from_int32(t["weight_packed"], bits, shape)
    s = t["weight_scale"]
    z = torch.zeros(s.shape, dtype=torch.int8)
    if not args["symmetric"]:
        z = unpack_from_int32(t["weight_zero_point"], bits, torch.Size([shape[0], s.shape[1]]), 0)
    return q.int() + middle, z.int() + middle, s


def read_bytes(t, config):
    """As torch has int8 and float8_e4m3fn; compressed-tensors' naive compressor does no more."""
    w = t["weight"].float()
    s = t["weight_scale_inv" if config["quant_method"] == "fp8" else "weight_scale"].float()
    if s.dim() == 1:
        s = s.reshape(1, 1)
    rows, columns = w.shape
    s = s.repeat_interleave(-(-rows // s.shape[0]), 0)[:rows]
    if "w" in t:
        wide = s.repeat_interleave(columns // s.shape[1], 1)
        assert torch.equal(w * wide, t["w"])
        return t["q"], t["z"], s
    return w + 128, torch.full(s.shape, 128), s


def main(path, autoawq, gptqmodel):
    with safe_open(path, "pt") as file:
        for name, text in file.metadata().items():
            config = json.loads(text)
            t = {key[len(name) + 1:]: file.get_tensor(key) for key in file.keys()
                 if key.startswith(name + ".")}
            if config["quant_method"] == "awq":
                q, z, s = read_awq(autoawq, t)
            elif config["quant_method"] == "gptq":
                q, z, s = read_gptq(gptqmodel, t, config)
            elif "weight" in t:
                q, z, s = read_bytes(t, config)
            else:
                q, z, s = read_compressed(t, config)
            assert torch.equal(q.int(), t["q"].int()), name + ": q"
            assert torch.equal(z.int(), t["z"]), name + ": z"
            assert torch.equal(s.float(), t["s"]), name + ": s"
            print(name, "as read by its own code")


main(*sys.argv[1:])
