#include "worker/kernels/cuda/linear/expanded_product.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <variant>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/linear/bf16_linear.h"
#include "worker/kernels/expanded_rows.h"

namespace thinkwire::worker::kernels {
namespace {

// Columns [first, first + those of `piece`) of `out` become the piece.
void CopyColumns(const Tensor& piece, std::int64_t first, const Tensor& out, cudaStream_t stream) {
  const std::size_t size = SizeOf(out.dtype);
  const std::size_t width = static_cast<std::size_t>(piece.dim(1)) * size;
  const std::size_t pitch = static_cast<std::size_t>(out.dim(1)) * size;
  auto* const to = static_cast<std::byte*>(out.data) + static_cast<std::size_t>(first) * size;
  CUDA_CHECK(cudaMemcpy2DAsync(to, pitch, piece.data, width, width,
                               static_cast<std::size_t>(out.dim(0)), cudaMemcpyDeviceToDevice,
                               stream));
}

// F32Output or Bf16Output, row by row of the weight.
template <class Output>
void MultiplyPieces(const ExpandedWeight& weight, const ExpandRows& expand, const Tensor& x,
                    const Output& output, LinearTools& tools, OpStream& stream) {
  const std::int64_t tokens = x.dim(0);
  const DType dtype = output.out.dtype;
  void* const expanded = tools.expanded.AtLeast(weight.bytes(), stream);
  void* const sums = tools.sums.AtLeast(
      static_cast<std::size_t>(tokens * weight.rows_at_once) * SizeOf(dtype), stream);
  for (std::int64_t first = 0; first < weight.shape.out; first += weight.rows_at_once) {
    const std::int64_t count = std::min(weight.rows_at_once, weight.shape.out - first);
    const Tensor piece = MakeTensor(sums, dtype, tokens, count);
    expand(first, count, expanded);
    Bf16Linear::Over(weight.layout, {count, weight.shape.in}, expanded, nullptr, tools)
        .Run(x, Output{piece}, stream);
    CopyColumns(piece, first, output.out, stream.Get());
  }
}

}  // namespace

ExpandedWeight ReserveExpanded(LinearLayout layout, std::size_t parts, const LinearShape& shape,
                               void* bias, LinearTools& tools, OpStream& stream) {
  const ExpandedWeight weight = {.layout = layout,
                                 .shape = shape,
                                 .rows_at_once = ExpandedRows(layout, parts, shape.out),
                                 .bias = bias};
  tools.expanded.AtLeast(weight.bytes(), stream);
  return weight;
}

void MultiplyExpanded(const ExpandedWeight& weight, const ExpandRows& expand, const Tensor& x,
                      const LinearOutput& output, LinearTools& tools, OpStream& stream) {
  if (weight.rows_at_once == weight.shape.out) {
    void* const expanded = tools.expanded.AtLeast(weight.bytes(), stream);
    expand(0, weight.shape.out, expanded);
    Bf16Linear::Over(weight.layout, weight.shape, expanded, weight.bias, tools)
        .Run(x, output, stream);
    return;
  }
  std::visit(
      [&](const auto& to) {
        using Output = std::remove_cvref_t<decltype(to)>;
        if constexpr (Output::kLayout == LinearLayout::kPlain) {
          MultiplyPieces(weight, expand, x, to, tools, stream);
        } else {
          Check(false, "a plain weight goes in pieces");
        }
      },
      output);
}

}  // namespace thinkwire::worker::kernels
