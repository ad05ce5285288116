#include "worker/kernels/cuda/linear/unit_linear.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/linear/blocks_expand.h"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/weight_memory.h"

namespace thinkwire::worker::kernels {
namespace {

// Neighbours of one format together, each with its place in the weight.
std::vector<UnitRows> SectionsOf(std::span<const WeightSlice> parts) {
  std::vector<UnitRows> sections;
  std::int64_t first_row = 0;
  for (const WeightSlice& part : parts) {
    const UnitFormat format = *UnitFormatOf(part.encoding);
    if (sections.empty() || sections.back().format != format) {
      sections.push_back({.format = format, .first_row = first_row, .columns = part.cols});
    }
    sections.back().rows += part.rows;
    first_row += part.rows;
  }
  return sections;
}

bool IsTaken(const WeightSlice& part) {
  return UnitFormatOf(part.encoding).has_value() && part.cols % kUnitColumns == 0 &&
         part.order == nullptr;
}

// Those of `all` that are among the weight's [first, first + count), by their places from `first`
// on. REQUIRES: the first of them begins a tile.
UnitRows RowsWithin(const UnitRows& all, std::int64_t first, std::int64_t count) {
  const std::int64_t begin = std::max(first, all.first_row);
  const std::int64_t end = std::min(first + count, all.first_row + all.rows);
  const std::int64_t tile = (begin - all.first_row) / Int4TileRows(all.tiling);
  UnitRows rows = all;
  rows.tiles = static_cast<const std::byte*>(all.tiles) +
               tile * UnitTileBytes(all.format, all.columns, all.tiling);
  rows.first_row = begin - first;
  rows.rows = end - begin;
  return rows;
}

}  // namespace

bool UnitLinear::Takes(std::span<const WeightSlice> parts, LinearLayout layout,
                       const LinearTools& tools) {
  if (!tools.has_small_linear || !std::ranges::all_of(parts, IsTaken)) return false;
  const std::vector<UnitRows> sections = SectionsOf(parts);
  if (layout == LinearLayout::kGateUp && sections.size() > 1) return false;
  return std::ranges::all_of(sections, [](const UnitRows& section) {
    return section.first_row % Int4TileRows(Int4Tiling::kWide) == 0;
  });
}

UnitLinear::Section UnitLinear::MakeSection(std::span<const WeightSlice> parts,
                                            const UnitRows& rows, LinearLayout layout,
                                            std::int64_t all_rows, LinearTools& tools) {
  Section section = {.rows = rows, .tiles = {}};
  const Int4Tiling tiling = ChooseInt4Tiling(rows.rows, tools.num_sms);
  section.rows.tiling = tiling;
  const std::int64_t tile_rows = Int4TileRows(tiling);
  section.tiles = tools.upload.Run(
      Int4Tiles(rows.rows, tiling), UnitTileBytes(rows.format, rows.columns, tiling) / 2,
      [&](std::int64_t tile, std::uint16_t* to) {
        std::vector<const char*> sources(static_cast<std::size_t>(tile_rows));
        for (std::int64_t i = 0; i < tile_rows; ++i) {
          const std::int64_t row = tile * tile_rows + i;
          if (row >= rows.rows) break;
          const std::int64_t source = SourceRow(rows.first_row + row, layout, all_rows, kHeadDim);
          const StackedRow at = FindRow(parts, source);
          sources[static_cast<std::size_t>(i)] = at.part->row(at.row);
        }
        PackUnitTile(rows.format, sources, rows.columns, tiling,
                     reinterpret_cast<std::uint8_t*>(to));
      });
  section.rows.tiles = section.tiles.data();
  return section;
}

std::unique_ptr<UnitLinear> UnitLinear::Make(std::span<const WeightSlice> parts,
                                             std::span<const WeightSlice> bias, LinearLayout layout,
                                             LinearTools& tools, OpStream& stream) {
  const LinearShape shape = CheckedLinearShape(parts, bias, layout);
  Check(layout != LinearLayout::kGateUp || parts[0].rows % kHalfTile == 0,
        "a gate-up weight's rows come in eights");
  std::vector<Section> sections;
  for (const UnitRows& rows : SectionsOf(parts)) {
    sections.push_back(MakeSection(parts, rows, layout, shape.out, tools));
  }
  Buffer bias_buffer = UploadBias(bias, layout, shape.out, tools.upload);
  const ExpandedWeight expanded =
      ReserveExpanded(layout, parts.size(), shape, bias_buffer.data(), tools, stream);
  return std::unique_ptr<UnitLinear>(
      new UnitLinear(expanded, std::move(sections), std::move(bias_buffer), tools));
}

UnitLinear::UnitLinear(const ExpandedWeight& expanded, std::vector<Section> sections, Buffer bias,
                       LinearTools& tools)
    : CudaLinear(expanded.layout, expanded.shape),
      expanded_(expanded),
      sections_(std::move(sections)),
      bias_(std::move(bias)),
      tools_(tools) {}

std::size_t UnitLinear::bytes() const {
  std::size_t bytes = bias_.bytes();
  for (const Section& section : sections_) bytes += section.tiles.bytes();
  return bytes;
}

void UnitLinear::Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  if (x.dim(0) > kUnitProductTokens) {
    const auto expand = [&](std::int64_t first, std::int64_t count, void* to) {
      Expand(first, count, to, stream);
    };
    return MultiplyExpanded(expanded_, expand, x, output, tools_, stream);
  }
  for (const Section& section : sections_) {
    LaunchUnitProduct({.weights = section.rows,
                       .all_rows = out_features(),
                       .bias = bias_.data(),
                       .x = x.data,
                       .tokens = static_cast<int>(x.dim(0)),
                       .num_sms = tools_.num_sms},
                      output, stream.Get());
  }
}

void UnitLinear::Expand(std::int64_t first, std::int64_t count, void* to, OpStream& stream) const {
  for (const Section& section : sections_) {
    const UnitRows rows = RowsWithin(section.rows, first, count);
    if (rows.rows > 0) LaunchUnitExpand(rows, to, stream.Get());
  }
  LaunchAwaitExpanded(stream.Get());
}

}  // namespace thinkwire::worker::kernels
