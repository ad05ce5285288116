#pragma once

#include <cstdint>

#include "worker/kernels/weights.h"

namespace thinkwire::worker::model {

// Whether RandomWeights draws matrices of this encoding packed.
constexpr bool CanDrawPacked(kernels::Encoding encoding) {
  using kernels::Encoding;
  return encoding == Encoding::kInt4 || encoding == Encoding::kQ8_0 || encoding == Encoding::kQ4K ||
         encoding == Encoding::kQ6K || encoding == Encoding::kFp8;
}

// Draws `cols` columns of a row of blocks to `to`: weights around 0 of about the standard deviation
// `deviation`, each block by its own place, start + its first column, alone. REQUIRES:
// CanDrawPacked, whole blocks; 2^-13 <= deviation <= 2.
void DrawBlocks(kernels::Encoding encoding, std::uint64_t start, float deviation, std::int64_t cols,
                char* to);

}  // namespace thinkwire::worker::model
