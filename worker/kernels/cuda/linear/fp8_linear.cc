#include "worker/kernels/cuda/linear/fp8_linear.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/linear/bf16_linear.h"
#include "worker/kernels/cuda/linear/blocks_expand.h"
#include "worker/kernels/cuda/linear/fp8_product.h"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/weight_memory.h"
#include "worker/kernels/cuda/tiles/tile_pack.h"

namespace thinkwire::worker::kernels {

bool Fp8Linear::Takes(std::span<const WeightSlice> parts, LinearLayout layout) {
  if (layout == LinearLayout::kQkv) return false;
  std::int64_t rows = 0;
  for (const WeightSlice& part : parts) rows += part.rows;
  const std::int64_t halves = layout == LinearLayout::kGateUp ? parts[0].rows % kHalfTile : 0;
  return rows % kTileMatrixRows == 0 && halves == 0 &&
         std::ranges::all_of(parts, [](const WeightSlice& part) {
           return part.encoding == Encoding::kFp8 && part.order == nullptr &&
                  part.cols % kFp8Columns == 0;
         });
}

std::unique_ptr<Fp8Linear> Fp8Linear::Make(std::span<const WeightSlice> parts, LinearLayout layout,
                                           LinearTools& tools, OpStream& stream) {
  const LinearShape shape = CheckedLinearShape(parts, {}, layout);
  Buffer tiles = tools.upload.Run(
      shape.out / kTileMatrixRows, TileBytes(TileFormat::kFp8, shape.in) / 2,
      [&](std::int64_t tile, std::uint16_t* to) {
        TileSources sources;
        for (std::int64_t r = 0; r < kTileMatrixRows; ++r) {
          sources[static_cast<std::size_t>(r)] =
              FindRow(parts, SourceRow(tile * kTileMatrixRows + r, layout, shape.out, kHeadDim));
        }
        PackTile(TileFormat::kFp8, sources, shape.in, reinterpret_cast<std::uint8_t*>(to));
      });
  tools.expanded.AtLeast(ExpandedBytes(shape), stream);
  return std::unique_ptr<Fp8Linear>(new Fp8Linear(layout, shape, std::move(tiles), tools));
}

Fp8Linear::Fp8Linear(LinearLayout layout, const LinearShape& shape, Buffer tiles,
                     LinearTools& tools)
    : CudaLinear(layout, shape), layout_(layout), tiles_(std::move(tiles)), tools_(tools) {}

void Fp8Linear::Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  const LinearShape shape = {out_features(), in_features()};
  const Fp8Tiles weights = {tiles_.data(), shape.out, shape.in};
  if (x.dim(0) <= kFp8ProductTokens) return LaunchFp8Product(weights, x, output, stream.Get());
  void* const expanded = tools_.expanded.AtLeast(ExpandedBytes(shape), stream);
  LaunchFp8Expand(weights, expanded, stream.Get());
  LaunchAwaitExpanded(stream.Get());
  Bf16Linear::Over(layout_, shape, expanded, nullptr, tools_).Run(x, output, stream);
}

}  // namespace thinkwire::worker::kernels
