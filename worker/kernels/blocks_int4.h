#pragma once

#include "worker/kernels/block_codes.h"
#include "worker/kernels/int4_block.h"

namespace thinkwire::worker::kernels {

// A block of Encoding::kInt4 (int4_block.h): w = (q - z) * s.
struct Int4GroupBlock {
  static constexpr int kElements = kInt4Columns;
  static constexpr int kBytes = kInt4PackedBytes;
  template <class Isa>
  HOST_DEVICE static void Read(const std::uint8_t* block, BlockCodes<kElements>& out) {
    const auto word = LoadAs<Isa, std::uint32_t>(block + kElements / 2);
    const auto zero = static_cast<int>(word & kInt4ZeroBits);
    for (int i = 0; i < kElements / 2; ++i) {
      out.q[2 * i] = static_cast<std::int8_t>((block[i] & 0xF) - zero);
      out.q[2 * i + 1] = static_cast<std::int8_t>((block[i] >> 4) - zero);
    }
    for (int i = 0; i < kElements / 16; ++i) {
      out.scale[i] = std::bit_cast<float>(word & kInt4ScaleBits);
      out.offset[i] = kNoOffset;
    }
  }
};

}  // namespace thinkwire::worker::kernels
