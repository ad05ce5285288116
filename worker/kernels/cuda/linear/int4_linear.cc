#include "worker/kernels/cuda/linear/int4_linear.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/cuda/linear/int4_product.h"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/weight_memory.h"

namespace thinkwire::worker::kernels {

bool Int4Linear::Takes(std::span<const WeightSlice> parts, const LinearTools& tools) {
  return tools.has_small_linear && std::ranges::all_of(parts, [](const WeightSlice& part) {
           return part.encoding == Encoding::kInt4 && part.order == nullptr;
         });
}

std::unique_ptr<Int4Linear> Int4Linear::Make(std::span<const WeightSlice> parts,
                                             std::span<const WeightSlice> bias, LinearLayout layout,
                                             LinearTools& tools, OpStream& stream) {
  const LinearShape shape = CheckedLinearShape(parts, bias, layout);
  Check(shape.in % kInt4Columns == 0, "a weight of 4 bits is whole blocks of columns");
  Check(layout != LinearLayout::kGateUp || parts[0].rows % kHalfTile == 0,
        "a gate-up weight's rows come in eights");
  const auto source = [&](std::int64_t row) { return SourceRow(row, layout, shape.out, kHeadDim); };
  const Int4Tiling tiling = ChooseInt4Tiling(shape.out, tools.num_sms);
  const std::int64_t tile_rows = Int4TileRows(tiling);
  Buffer tiles =
      tools.upload.Run(Int4Tiles(shape.out, tiling), Int4TileBytes(shape.in, tiling) / 2,
                       [&](std::int64_t tile, std::uint16_t* to) {
                         std::vector<const char*> rows(static_cast<std::size_t>(tile_rows));
                         for (std::int64_t i = 0; i < tile_rows; ++i) {
                           const std::int64_t row = tile * tile_rows + i;
                           if (row >= shape.out) break;
                           const StackedRow at = FindRow(parts, source(row));
                           rows[static_cast<std::size_t>(i)] = at.part->row(at.row);
                         }
                         PackInt4Tile(rows, shape.in, tiling, reinterpret_cast<std::uint32_t*>(to));
                       });
  Buffer bias_buffer = UploadBias(bias, layout, shape.out, tools.upload);
  const ExpandedWeight expanded =
      ReserveExpanded(layout, parts.size(), shape, bias_buffer.data(), tools, stream);
  return std::unique_ptr<Int4Linear>(
      new Int4Linear(expanded, tiling, std::move(tiles), std::move(bias_buffer), tools));
}

Int4Linear::Int4Linear(const ExpandedWeight& expanded, Int4Tiling tiling, Buffer tiles, Buffer bias,
                       LinearTools& tools)
    : CudaLinear(expanded.layout, expanded.shape),
      expanded_(expanded),
      tiling_(tiling),
      tiles_(std::move(tiles)),
      bias_(std::move(bias)),
      tools_(tools) {}

void Int4Linear::Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  if (x.dim(0) <= kInt4ProductTokens) {
    return LaunchInt4Product({.weights = tiles_.data(),
                              .tiling = tiling_,
                              .bias = bias_.data(),
                              .rows = out_features(),
                              .columns = in_features(),
                              .x = x.data,
                              .tokens = static_cast<int>(x.dim(0)),
                              .num_sms = tools_.num_sms},
                             output, stream.Get());
  }
  const auto expand = [&](std::int64_t first, std::int64_t count, void* to) {
    const auto* const tiles = static_cast<const std::byte*>(tiles_.data()) +
                              first / Int4TileRows(tiling_) * Int4TileBytes(in_features(), tiling_);
    LaunchInt4Expand(tiles, tiling_, count, in_features(), to, stream.Get());
  };
  MultiplyExpanded(expanded_, expand, x, output, tools_, stream);
}

}  // namespace thinkwire::worker::kernels
