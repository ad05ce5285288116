#pragma once

#include "worker/kernels/block_codes.h"
#include "worker/kernels/group_words.h"

// The blocks of group_words.h: w = (q - z) * s.
namespace thinkwire::worker::kernels {

template <class Isa>
HOST_DEVICE float ScaleOfWord(std::uint32_t word, int zero_width) {
  return std::bit_cast<float>(word >> zero_width << kDroppedScaleBits);
}

template <int kColumns>
struct NarrowInt4Block {
  static constexpr int kElements = kColumns;
  static constexpr int kBytes = kColumns / 2 + kInt4WordBytes;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<kElements>& out) {
    const std::uint8_t* const end = block + kElements / 2;
    const std::uint32_t word = end[0] | std::uint32_t{end[1]} << 8 | std::uint32_t{end[2]} << 16;
    const auto zero = static_cast<int>(word & ((1U << kInt4ZeroWidth) - 1));
    for (int i = 0; i < kElements / 2; ++i) {
      out.q[2 * i] = static_cast<std::int8_t>((block[i] & 0xF) - zero);
      out.q[2 * i + 1] = static_cast<std::int8_t>((block[i] >> 4) - zero);
    }
    for (int i = 0; i < kElements / 16; ++i) {
      out.scale[i] = ScaleOfWord<Isa>(word, kInt4ZeroWidth);
      out.offset[i] = kNoOffset;
    }
  }
};

// A difference of two bytes is no byte: it is (q - 128) + (128 - z), each times s exact.
template <int kColumns>
struct Int8GroupBlock {
  static constexpr int kElements = kColumns;
  static constexpr int kBytes = kColumns + kInt8WordBytes;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<kElements>& out) {
    const auto word = LoadAs<Isa, std::uint32_t>(block + kElements);
    const int rest = 128 - static_cast<int>(word & ((1U << kInt8ZeroWidth) - 1));
    const auto scale = ScaleOfWord<Isa>(word, kInt8ZeroWidth);
    for (int i = 0; i < kElements; ++i) out.q[i] = static_cast<std::int8_t>(block[i] ^ 0x80);
    for (int i = 0; i < kElements / 16; ++i) {
      out.scale[i] = scale;
      out.offset[i] = rest == 0 ? kNoOffset : static_cast<float>(rest) * scale;
    }
  }
};

}  // namespace thinkwire::worker::kernels
