#pragma once

#include <cstdint>

#include "worker/kernels/block_codes.h"

// llama.cpp's formats of 256 weights with scales of their own for groups of 16 or 32 (ggml's
// block_q2_K to block_q6_K). d and dmin are f16, sc and m whole numbers of a group.
//   Q2_K  16 B (m << 4 | sc), 64 B of 2 bits, d, dmin                w = d * sc * q - dmin * m
//   Q3_K  32 B of third bits, 64 B of 2 bits, 12 B of sc, d          w = d * (sc - 32) * (q - 4)
//   Q4_K  d, dmin, 12 B of sc and m, 128 B of nibbles                w = d * sc * q - dmin * m
//   Q5_K  d, dmin, 12 B of sc and m, 32 B of fifth bits, nibbles     w = d * sc * q - dmin * m
//   Q6_K  128 B of nibbles, 64 B of upper 2 bits, 16 B of i8 sc, d   w = d * sc * (q - 32)
namespace thinkwire::worker::kernels {

// The eight scales and mins of Q4_K and Q5_K, six bits each, in twelve bytes: the first four of
// both in the low bits of bytes 0 to 7; of the last four the low nibbles in bytes 8 to 11, the
// upper two bits above those of the first.
template <class Isa>
HOST_DEVICE void ReadSixBits(const std::uint8_t* bytes, std::uint8_t* scales, std::uint8_t* mins) {
  for (int i = 0; i < 4; ++i) {
    scales[i] = bytes[i] & 0x3F;
    mins[i] = bytes[i + 4] & 0x3F;
    scales[i + 4] = static_cast<std::uint8_t>((bytes[i + 8] & 0xF) | (bytes[i] >> 6 << 4));
    mins[i + 4] = static_cast<std::uint8_t>((bytes[i + 8] >> 4) | (bytes[i + 4] >> 6 << 4));
  }
}

// Scales and mins of groups of 32 from a block that begins with d, dmin and the twelve bytes.
template <class Isa>
HOST_DEVICE void ReadGroupsOf32(const std::uint8_t* block, BlockCodes<256>& out) {
  const float d = FloatFromHalf<Isa>(block);
  const float dmin = FloatFromHalf<Isa>(block + 2);
  std::uint8_t scales[8];
  std::uint8_t mins[8];
  ReadSixBits<Isa>(block + 4, scales, mins);
  for (int g = 0; g < 8; ++g) {
    out.scale[2 * g] = out.scale[2 * g + 1] = d * static_cast<float>(scales[g]);
    out.offset[2 * g] = out.offset[2 * g + 1] = -(dmin * static_cast<float>(mins[g]));
  }
}

// Of each 64 weights, the first half in the low nibbles of 32 bytes, the second in the high ones.
template <class Isa>
HOST_DEVICE void ReadNibblesOf64(const std::uint8_t* bytes, std::int8_t* q) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; ++i) {
      q[64 * pair + i] = static_cast<std::int8_t>(bytes[32 * pair + i] & 0xF);
      q[64 * pair + 32 + i] = static_cast<std::int8_t>(bytes[32 * pair + i] >> 4);
    }
  }
}

// Of each 128 weights, 32 in each two bits of 32 bytes, from the low ones up.
template <class Isa>
HOST_DEVICE void ReadTwoBits(const std::uint8_t* bytes, std::int8_t* q) {
  for (int half = 0; half < 2; ++half) {
    for (int part = 0; part < 4; ++part) {
      for (int i = 0; i < 32; ++i) {
        q[128 * half + 32 * part + i] =
            static_cast<std::int8_t>(bytes[32 * half + i] >> (2 * part) & 3);
      }
    }
  }
}

struct Q2KBlock {
  static constexpr int kElements = 256;
  static constexpr int kBytes = 84;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<256>& out) {
    const float d = FloatFromHalf<Isa>(block + 80);
    const float dmin = FloatFromHalf<Isa>(block + 82);
    for (int g = 0; g < 16; ++g) {
      out.scale[g] = d * static_cast<float>(block[g] & 0xF);
      out.offset[g] = -(dmin * static_cast<float>(block[g] >> 4));
    }
    ReadTwoBits<Isa>(block + 16, out.q);
  }
};

struct Q3KBlock {
  static constexpr int kElements = 256;
  static constexpr int kBytes = 110;
  // Sixteen scales of six bits: the low nibbles as ReadNibbles has them over eight bytes, the upper
  // two bits in four bytes, four scales in each two bits.
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<256>& out) {
    const std::uint8_t* const scales = block + 96;
    const float d = FloatFromHalf<Isa>(block + 108);
    for (int g = 0; g < 16; ++g) {
      const int low = scales[g % 8] >> (g / 8 * 4) & 0xF;
      const int high = scales[8 + g % 4] >> (g / 4 * 2) & 3;
      out.scale[g] = d * static_cast<float>((low | high << 4) - 32);
      out.offset[g] = kNoOffset;
    }
    ReadTwoBits<Isa>(block + 32, out.q);
    for (int i = 0; i < 256; ++i) {
      const int third = block[i % 32] >> (i / 32) & 1;
      out.q[i] = static_cast<std::int8_t>(out.q[i] - (third == 1 ? 0 : 4));
    }
  }
};

struct Q4KBlock {
  static constexpr int kElements = 256;
  static constexpr int kBytes = 144;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<256>& out) {
    ReadGroupsOf32<Isa>(block, out);
    ReadNibblesOf64<Isa>(block + 16, out.q);
  }
};

struct Q5KBlock {
  static constexpr int kElements = 256;
  static constexpr int kBytes = 176;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<256>& out) {
    ReadGroupsOf32<Isa>(block, out);
    ReadNibblesOf64<Isa>(block + 48, out.q);
    for (int g = 0; g < 8; ++g) {
      for (int i = 0; i < 32; ++i) {
        const int fifth = block[16 + i] >> g & 1;
        out.q[32 * g + i] = static_cast<std::int8_t>(out.q[32 * g + i] | fifth << 4);
      }
    }
  }
};

struct Q6KBlock {
  static constexpr int kElements = 256;
  static constexpr int kBytes = 210;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<256>& out) {
    const float d = FloatFromHalf<Isa>(block + 208);
    for (int g = 0; g < 16; ++g) {
      out.scale[g] = d * static_cast<float>(static_cast<std::int8_t>(block[192 + g]));
      out.offset[g] = kNoOffset;
    }
    std::int8_t upper[256];
    ReadTwoBits<Isa>(block + 128, upper);
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 64; ++i) {
        std::int8_t* const q = out.q + 128 * half + i;
        const std::int8_t* const high = upper + 128 * half + i;
        const std::uint8_t nibbles = block[64 * half + i];
        q[0] = static_cast<std::int8_t>(((nibbles & 0xF) | high[0] << 4) - 32);
        q[64] = static_cast<std::int8_t>((nibbles >> 4 | high[64] << 4) - 32);
      }
    }
  }
};

}  // namespace thinkwire::worker::kernels
