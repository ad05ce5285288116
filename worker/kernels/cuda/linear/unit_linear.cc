#include "worker/kernels/cuda/linear/unit_linear.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/linear/bf16_linear.h"
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
  tools.expanded.AtLeast(ExpandedBytes(shape), stream);
  return std::unique_ptr<UnitLinear>(
      new UnitLinear(layout, shape, std::move(sections),
                     UploadBias(bias, layout, shape.out, tools.upload), tools));
}

UnitLinear::UnitLinear(LinearLayout layout, const LinearShape& shape, std::vector<Section> sections,
                       Buffer bias, LinearTools& tools)
    : CudaLinear(layout, shape),
      layout_(layout),
      sections_(std::move(sections)),
      bias_(std::move(bias)),
      tools_(tools) {}

std::size_t UnitLinear::bytes() const {
  std::size_t bytes = bias_.bytes();
  for (const Section& section : sections_) bytes += section.tiles.bytes();
  return bytes;
}

void UnitLinear::Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  if (x.dim(0) > kUnitProductTokens) return MultiplyExpanded(x, output, stream);
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

void UnitLinear::MultiplyExpanded(const Tensor& x, const LinearOutput& output,
                                  OpStream& stream) const {
  const LinearShape shape = {out_features(), in_features()};
  void* const expanded = tools_.expanded.AtLeast(ExpandedBytes(shape), stream);
  for (const Section& section : sections_) {
    LaunchUnitExpand(section.rows, expanded, stream.Get());
  }
  LaunchAwaitExpanded(stream.Get());
  Bf16Linear::Over(layout_, shape, expanded, bias_.data(), tools_).Run(x, output, stream);
}

}  // namespace thinkwire::worker::kernels
