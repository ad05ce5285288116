#pragma once

#include <cstdint>

#include "worker/kernels/block_codes.h"

// The formats of 32 weights and one scale (ggml's block_q4_0 to block_q8_0). A d or m is an f16, a
// nibble array holds weights 0 to 15 in the low halves of its bytes and 16 to 31 in the high ones.
//   Q4_0  d, 16 B nibbles             w = d * (q - 8)
//   Q4_1  d, m, 16 B nibbles          w = d * q + m
//   Q5_0  d, 32 fifth bits, nibbles   w = d * (q - 16)
//   Q5_1  d, m, fifth bits, nibbles   w = d * q + m
//   Q8_0  d, 32 B of i8               w = d * q
namespace thinkwire::worker::kernels {

template <class Isa>
HOST_DEVICE void SetAll(float scale, float offset, BlockCodes<32>& out) {
  out.scale[0] = out.scale[1] = scale;
  out.offset[0] = out.offset[1] = offset;
}

// Puts bit i of `bits` above weight i's nibble.
template <class Isa>
HOST_DEVICE void AddFifthBits(const std::uint8_t* bits, BlockCodes<32>& out) {
  const auto word = LoadAs<Isa, std::uint32_t>(bits);
  for (int i = 0; i < 32; ++i) {
    out.q[i] = static_cast<std::int8_t>(out.q[i] | ((word >> i & 1U) << 4));
  }
}

template <class Isa>
HOST_DEVICE void Shift(int by, BlockCodes<32>& out) {
  for (std::int8_t& q : out.q) q = static_cast<std::int8_t>(q - by);
}

struct Q4_0Block {
  static constexpr int kElements = 32;
  static constexpr int kBytes = 18;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<32>& out) {
    SetAll<Isa>(FloatFromHalf<Isa>(block), kNoOffset, out);
    ReadNibbles<Isa>(block + 2, out.q);
    Shift<Isa>(8, out);
  }
};

struct Q4_1Block {
  static constexpr int kElements = 32;
  static constexpr int kBytes = 20;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<32>& out) {
    SetAll<Isa>(FloatFromHalf<Isa>(block), FloatFromHalf<Isa>(block + 2), out);
    ReadNibbles<Isa>(block + 4, out.q);
  }
};

struct Q5_0Block {
  static constexpr int kElements = 32;
  static constexpr int kBytes = 22;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<32>& out) {
    SetAll<Isa>(FloatFromHalf<Isa>(block), kNoOffset, out);
    ReadNibbles<Isa>(block + 6, out.q);
    AddFifthBits<Isa>(block + 2, out);
    Shift<Isa>(16, out);
  }
};

struct Q5_1Block {
  static constexpr int kElements = 32;
  static constexpr int kBytes = 24;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<32>& out) {
    SetAll<Isa>(FloatFromHalf<Isa>(block), FloatFromHalf<Isa>(block + 2), out);
    ReadNibbles<Isa>(block + 8, out.q);
    AddFifthBits<Isa>(block + 4, out);
  }
};

struct Q8_0Block {
  static constexpr int kElements = 32;
  static constexpr int kBytes = 34;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<32>& out) {
    SetAll<Isa>(FloatFromHalf<Isa>(block), kNoOffset, out);
    std::memcpy(out.q, block + 2, 32);
  }
};

}  // namespace thinkwire::worker::kernels
