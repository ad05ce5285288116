#pragma once

#include "worker/kernels/block_codes.h"
#include "worker/kernels/group_words.h"

// A block of Encoding::kFp8, 128 columns of a row: a byte of e4m3 each, then their scale as f32 in
// the host's order. The weight is bf16(float(code) * scale): the product in float, then rounded.
namespace thinkwire::worker::kernels {

// A block taken apart.
struct Fp8Codes {
  const std::uint8_t* code;
  float scale;
};

// Sign, four bits of exponent with bias 7, three of fraction; no infinity. REQUIRES: no NaN (0x7F,
// 0xFF). Shifted to where f32 has them, the bits are 2^-120 times the number, subnormal or not.
template <class Isa>
HOST_DEVICE float FloatFromE4m3(std::uint8_t code) {
  const auto magnitude = std::bit_cast<float>((code & 0x7FU) << 20) * 0x1p120F;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | (code & 0x80U) << 24);
}

// Weight i of a block, in float.
template <class Isa>
HOST_DEVICE float WeightOf(const Fp8Codes& codes, int i) {
  return FloatFromE4m3<Isa>(codes.code[i]) * codes.scale;
}

struct Fp8Block {
  static constexpr int kElements = kFp8Columns;
  static constexpr int kBytes = kFp8PackedBytes;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, Fp8Codes& out) {
    out = {block, LoadAs<Isa, float>(block + kElements)};
  }
};
template <>
struct CodesOf<Fp8Block> {
  using type = Fp8Codes;
};

}  // namespace thinkwire::worker::kernels
