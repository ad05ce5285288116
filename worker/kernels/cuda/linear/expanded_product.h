#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "worker/kernels/cuda/linear/linear_output.h"
#include "worker/kernels/cuda/linear/linear_tools.h"
#include "worker/kernels/cuda/stream/op_stream.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::kernels {

// A packed weight as what multiplies with it sees it once it is bf16.
struct ExpandedWeight {
  LinearLayout layout = LinearLayout::kPlain;
  LinearShape shape = {};
  std::int64_t rows_at_once = 0;  // ExpandedRows: all, or of a kPlain weight a piece
  void* bias = nullptr;           // bf16 [out] or null

  // Of LinearTools::expanded that it takes.
  std::size_t bytes() const { return static_cast<std::size_t>(rows_at_once * shape.in) * 2; }
};

// That of a weight of so many parts, with room in LinearTools::expanded for what it takes at once.
// `bias` as ExpandedWeight's.
ExpandedWeight ReserveExpanded(LinearLayout layout, std::size_t parts, const LinearShape& shape,
                               void* bias, LinearTools& tools, OpStream& stream);

// Gives the stream what makes rows [first, first + count) of the weight bf16, to `to` [count, in].
// `first` is a multiple of rows_at_once. Products may be launched right after it.
using ExpandRows = std::function<void(std::int64_t first, std::int64_t count, void* to)>;

// The product of a weight that is packed, with the bits that it has in bf16 (Bf16Linear): makes it
// so first, whole or piece by piece. A piece's outputs go through LinearTools::sums to their
// columns: the copy is a hundredth of the product. Threads: the stream's.
void MultiplyExpanded(const ExpandedWeight& weight, const ExpandRows& expand, const Tensor& x,
                      const LinearOutput& output, LinearTools& tools, OpStream& stream);

}  // namespace thinkwire::worker::kernels
