#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// How many of a packed weight's rows a GPU makes bf16 at once, in memory that all weights share.
// All of a layer's; of a vocabulary's, which has more than any layer, pieces, so that the head
// alone does not decide how much that memory is: 0.17 GB instead of 1.56 of 32 billion weights. Who
// counts memory without a GPU goes by it too.
constexpr std::int64_t ExpandedRows(LinearLayout layout, std::size_t parts, std::int64_t rows) {
  constexpr std::int64_t kMostWhole = 1 << 16;
  constexpr std::int64_t kPiece = 1 << 14;
  return layout == LinearLayout::kPlain && parts == 1 && rows > kMostWhole ? kPiece : rows;
}

}  // namespace thinkwire::worker::kernels
