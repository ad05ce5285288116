#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "worker/kernels/host_device.h"

namespace thinkwire::worker::kernels {

// A block of packed weights taken apart. Weight i of it is
//   float(q[i]) * scale[i / 16] + offset[i / 16]
// in float: the product is exact in all formats, so that there is one rounding where there is an
// offset and else none, fused or not. Rounded to bf16, once and to the nearest, it is what enters a
// product.
template <int kElements>
struct BlockCodes {
  alignas(64) std::int8_t q[kElements];
  float scale[kElements / 16];
  float offset[kElements / 16];
};

// What Block::Read takes a block apart to.
template <class Block>
struct CodesOf {
  using type = BlockCodes<Block::kElements>;
};

// Weight i of a block, in float.
template <class Isa, int kElements>
HOST_DEVICE float WeightOf(const BlockCodes<kElements>& codes, int i) {
  return static_cast<float>(codes.q[i]) * codes.scale[i / 16] + codes.offset[i / 16];
}

// Keeps the sign of a weight that is 0.
inline constexpr float kNoOffset = -0.0F;

// What follows takes a type `Isa` that it does not use: code for each instruction set is compiled
// apart, and the linker must not take the copy of one for that of another.

template <class Isa, class T>
HOST_DEVICE T LoadAs(const std::uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// A finite f16.
template <class Isa>
HOST_DEVICE float FloatFromHalf(const std::uint8_t* bytes) {
  const std::uint32_t half = LoadAs<Isa, std::uint16_t>(bytes);
  const std::uint32_t sign = (half & 0x8000U) << 16;
  if ((half & 0x7C00U) == 0) {  // zero and subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(half & 0x3FFU) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | (((half & 0x7FFFU) << 13) + (112U << 23)));
}

// The low nibbles of sixteen bytes, then the high ones.
template <class Isa>
HOST_DEVICE void ReadNibbles(const std::uint8_t* bytes, std::int8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = static_cast<std::int8_t>(bytes[i] & 0xF);
    q[i + 16] = static_cast<std::int8_t>(bytes[i] >> 4);
  }
}

}  // namespace thinkwire::worker::kernels
