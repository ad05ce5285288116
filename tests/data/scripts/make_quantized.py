#!/usr/bin/env python3
"""Writes tests/data/quantized.safetensors: small matrices as AWQ, GPTQ and compressed-tensors
checkpoints store them, and the numbers that they stand for.

Usage: make_quantized.py OUT, with numpy from PyPI. check_quantized.py reads it with the formats'
own libraries.
A matrix "x" of N rows and K columns has its format's tensors ("x.qweight", ...), its
quantization_config as text in the file's metadata, and what is to be read: "x.q" U8 [N, K], "x.z"
I32 [N, groups], "x.s" F32 [N, groups] and "x.g" I32 [K], the group of each column. Of e4m3 q are its
bytes, and "x.w" F32 [N, K] is what they stand for.
"""
import json
import struct
import sys

import numpy

ROWS = 8
FP8_ROWS = 3
PACKED_ROWS = 12  # of compressed-tensors: no whole words of zero points
AWQ_COLUMNS = [0, 2, 4, 6, 1, 3, 5, 7]  # nibble i of a word holds this column of its eight
NAMES = {"uint8": "U8", "int8": "I8", "int32": "I32", "int64": "I64", "float16": "F16",
         "float32": "F32"}

rng = numpy.random.default_rng(16)


def words(numbers, bits, order=None):
    """Packs the last axis into int32 words, the first of each lowest."""
    per_word = 32 // bits
    groups = numbers.astype(numpy.int64).reshape(*numbers.shape[:-1], -1, per_word)
    if order:
        groups = groups[..., order]
    shifted = groups << (bits * numpy.arange(per_word))
    return shifted.sum(-1).astype(numpy.uint32).view(numpy.int32)


def bf16(values):
    """The upper halves of float32 values that have nothing below."""
    return (values.astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)


class File:
    def __init__(self):
        self.header = {"__metadata__": {}}
        self.data = b""

    def add(self, name, array, dtype=None):
        array = numpy.ascontiguousarray(array)
        begin = len(self.data)
        self.data += array.tobytes()
        self.header[name] = {"dtype": dtype or NAMES[str(array.dtype)],
                             "shape": list(array.shape), "data_offsets": [begin, len(self.data)]}

    def write(self, path):
        header = json.dumps(self.header).encode()
        with open(path, "wb") as out:
            out.write(struct.pack("<Q", len(header)) + header + self.data)


def numbers(bits, columns, group, zeros, reordered=False, rows=ROWS):
    """q [N, K], z and s [N, groups], and the group of each column."""
    groups = columns // group
    most = 1 << bits
    q = rng.integers(0, most, (rows, columns))
    z = numpy.full((rows, groups), most // 2)
    if zeros:
        z = rng.integers(*zeros, (rows, groups))
    s = (rng.random((rows, groups)) * 0.01 + 0.001).astype(numpy.float16).astype(numpy.float32)
    g = numpy.arange(columns) // group
    if reordered:
        g = rng.permutation(g)
    return q, z, s, g


def expect(file, name, config, q, z, s, g):
    file.header["__metadata__"][name] = json.dumps(config)
    file.add(name + ".q", q.astype(numpy.uint8))
    file.add(name + ".z", z.astype(numpy.int32))
    file.add(name + ".s", s.astype(numpy.float32))
    file.add(name + ".g", g.astype(numpy.int32))


def awq(file, name, columns, group, said=None):
    q, z, s, g = numbers(4, columns, group, (0, 16))
    config = {"quant_method": "awq", "bits": 4, "group_size": said or group, "zero_point": True,
              "version": "gemm", "modules_to_not_convert": None}
    expect(file, name, config, q, z, s, g)
    file.add(name + ".qweight", words(q.T, 4, AWQ_COLUMNS))
    file.add(name + ".qzeros", words(z.T, 4, AWQ_COLUMNS))
    file.add(name + ".scales", s.T.astype(numpy.float16))


def gptq(file, name, bits, columns, group, zeros=None, version=1, meta=None, desc_act=False,
         static=False, said=None, with_index=True):
    q, z, s, g = numbers(bits, columns, group, zeros, desc_act and not static)
    config = {"quant_method": "gptq", "bits": bits, "group_size": said or group,
              "sym": zeros is None, "desc_act": desc_act, "static_groups": static,
              "lm_head": False}
    if version == 2:
        config["checkpoint_format"] = "gptq_v2"
    if meta:
        config["meta"] = {"quantizer": [meta]}
    expect(file, name, config, q, z, s, g)
    file.add(name + ".qweight", words(q.T.reshape(columns, ROWS).T, bits).T)
    packed = words(z.T, bits)
    if version == 1:  # from the word as a whole, which borrows where a zero point is 0
        one = numpy.uint32(0x11111111 if bits == 4 else 0x01010101)
        packed = (packed.view(numpy.uint32) - one).view(numpy.int32)
    file.add(name + ".qzeros", packed)
    file.add(name + ".scales", s.T.astype(numpy.float16))
    if with_index:
        file.add(name + ".g_idx", g.astype(numpy.int32))


def compressed(form, weights, activations=None):
    """A quantization_config of compressed-tensors."""
    if activations:
        activations = {"num_bits": 8, "type": activations, "dynamic": True, "strategy": "token"}
    return {"quant_method": "compressed-tensors", "format": form,
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights,
                                          "input_activations": activations,
                                          "output_activations": None}},
            "ignore": ["lm_head"], "kv_cache_scheme": None, "quantization_status": "compressed"}


def pack_quantized(file, name, bits, columns, group, zeros=None, strategy="group", actorder=None):
    q, z, s, g = numbers(bits, columns, group, zeros, actorder == "group", PACKED_ROWS)
    s = (bf16(s).astype(numpy.uint32) << 16).view(numpy.float32)
    weights = {"num_bits": bits, "type": "int", "symmetric": zeros is None, "strategy": strategy,
               "group_size": group if strategy == "group" else None, "actorder": actorder,
               "dynamic": False, "observer": "minmax", "block_structure": None}
    config = compressed("pack-quantized", weights)
    expect(file, name, config, q, z, s, g)
    file.add(name + ".weight_packed", words(q, bits))
    file.add(name + ".weight_scale", bf16(s), "BF16")
    file.add(name + ".weight_shape", numpy.array([PACKED_ROWS, columns], numpy.int64))
    if zeros is not None:
        whole = numpy.pad(z, ((0, -PACKED_ROWS % (32 // bits)), (0, 0)))
        file.add(name + ".weight_zero_point", words(whole.T, bits).T)
    if actorder == "group":
        file.add(name + ".weight_g_idx", g.astype(numpy.int32))


def e4m3(codes):
    """By the definition: sign, exponent of bias 7, fraction of three bits."""
    exponent, fraction = codes >> 3 & 15, codes & 7
    normal = (8 + fraction) * 2.0 ** (exponent - 10.0)
    magnitude = numpy.where(exponent == 0, fraction * 2.0 ** -9, normal)
    return numpy.where(codes & 128, -magnitude, magnitude).astype(numpy.float32)


def fp8(file, name, columns, strategy):
    """All codes but the two that are no numbers, and random ones."""
    codes = rng.integers(0, 256, (FP8_ROWS, columns))
    codes.flat[:256] = numpy.arange(256)
    codes[(codes & 127) == 127] = 0
    groups = columns // 128 if strategy == "deepseek" else 1
    scales = (rng.random((1 if strategy != "channel" else FP8_ROWS, groups)) * 0.01).astype(
        numpy.float32)
    s = numpy.broadcast_to(scales, (FP8_ROWS, groups))
    g = numpy.arange(columns) // (columns // groups)
    if strategy == "deepseek":
        config = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128],
                  "activation_scheme": "dynamic"}
    else:
        config = compressed("float-quantized", {"num_bits": 8, "type": "float", "symmetric": True,
                                                "strategy": strategy, "dynamic": False}, "float")
    expect(file, name, config, codes, numpy.full(s.shape, 128), s, g)
    file.add(name + ".w", e4m3(codes) * s[:, g])
    file.add(name + ".weight", codes.astype(numpy.uint8), "F8_E4M3")
    if strategy == "deepseek":
        file.add(name + ".weight_scale_inv", scales)
    else:
        file.add(name + ".weight_scale", scales if strategy == "channel" else scales.reshape(1))


def int_quantized(file, name, columns):
    q, z, s, g = numbers(8, columns, columns, None)
    s = (bf16(s).astype(numpy.uint32) << 16).view(numpy.float32)
    config = compressed("int-quantized", {"num_bits": 8, "type": "int", "symmetric": True,
                                          "strategy": "channel", "dynamic": False}, "int")
    expect(file, name, config, q, z, s, g)
    file.add(name + ".weight", (q - 128).astype(numpy.int8))
    file.add(name + ".weight_scale", bf16(s), "BF16")


def main(out):
    file = File()
    awq(file, "awq_128", 256, 128)
    awq(file, "awq_64", 128, 64)
    awq(file, "awq_32", 96, 32)
    awq(file, "awq_row", 160, 160, said=-1)
    gptq(file, "gptq_sym", 4, 256, 128)
    gptq(file, "gptq_no_index", 4, 64, 32, with_index=False)
    gptq(file, "gptq_asym", 4, 128, 64, zeros=(1, 16))
    gptq(file, "gptq_borrow", 4, 128, 32, zeros=(0, 16), meta="gptqmodel:2.0.0")
    gptq(file, "gptq_v2", 4, 128, 32, zeros=(0, 16), version=2)
    gptq(file, "gptq_8", 8, 128, 64)
    gptq(file, "gptq_8_asym", 8, 256, 128, zeros=(0, 256), version=2)
    gptq(file, "gptq_row", 4, 64, 64, said=-1)
    gptq(file, "gptq_act", 4, 256, 64, zeros=(1, 16), desc_act=True)
    gptq(file, "gptq_static", 4, 128, 32, desc_act=True, static=True)
    pack_quantized(file, "ct_128", 4, 256, 128)
    pack_quantized(file, "ct_asym", 4, 128, 32, zeros=(0, 16), actorder="weight")
    pack_quantized(file, "ct_8", 8, 128, 64, zeros=(0, 256))
    pack_quantized(file, "ct_row", 4, 128, 128, strategy="channel")
    pack_quantized(file, "ct_act", 4, 128, 32, actorder="group")
    int_quantized(file, "ct_w8a8", 128)
    fp8(file, "fp8_channel", 128, "channel")
    fp8(file, "fp8_tensor", 128, "tensor")
    fp8(file, "fp8_blocks", 256, "deepseek")
    file.write(out)


main(sys.argv[1])
