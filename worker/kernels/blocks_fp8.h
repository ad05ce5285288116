#pragma once

#include "worker/kernels/block_codes.h"
#include "worker/kernels/e4m3.h"
#include "worker/kernels/group_words.h"

// A block of Encoding::kFp8, 128 columns of a row: a byte of e4m3 each, then their scale as f32 in
// the host's order. The weight is bf16(float(code) * scale): the product in float, then rounded.
namespace thinkwire::worker::kernels {

// A block taken apart.
struct Fp8Codes {
  const std::uint8_t* code;
  float scale;
};

// Weight i of a block, in float. REQUIRES: no code is a NaN (0x7F, 0xFF).
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
