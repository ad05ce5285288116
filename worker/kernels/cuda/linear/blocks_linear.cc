#include "worker/kernels/cuda/linear/blocks_linear.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/linear/blocks_expand.h"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/weight_memory.h"

namespace thinkwire::worker::kernels {
namespace {

// What is not packed travels as bf16.
Encoding KeptAs(const WeightSlice& part) {
  return IsPacked(part.encoding) ? part.encoding : Encoding::kBf16;
}

void CopyRow(const StackedRow& at, std::uint16_t* to) {
  if (!IsPacked(at.part->encoding)) return ConvertRow(at, to);
  std::memcpy(to, at.part->row(at.row),
              static_cast<std::size_t>(BytesOf(at.part->encoding, at.part->cols)));
}

// The product's rows that come from parts of `encoding`.
std::vector<std::int32_t> RowsOf(std::span<const WeightSlice> parts, Encoding encoding,
                                 LinearLayout layout, std::int64_t rows) {
  std::vector<std::int32_t> found;
  for (std::int64_t row = 0; row < rows; ++row) {
    const StackedRow at = FindRow(parts, SourceRow(row, layout, rows, kHeadDim));
    if (KeptAs(*at.part) == encoding) found.push_back(static_cast<std::int32_t>(row));
  }
  return found;
}

}  // namespace

bool BlocksLinear::Takes(std::span<const WeightSlice> parts) {
  const auto is_packed = [](const WeightSlice& part) { return IsPacked(part.encoding); };
  const auto is_ordered = [](const WeightSlice& part) { return part.order != nullptr; };
  return std::ranges::any_of(parts, is_packed) && std::ranges::none_of(parts, is_ordered);
}

BlocksLinear::Group BlocksLinear::MakeGroup(std::span<const WeightSlice> parts, Encoding encoding,
                                            LinearLayout layout, const LinearShape& shape,
                                            LinearTools& tools) {
  const std::vector<std::int32_t> targets = RowsOf(parts, encoding, layout, shape.out);
  const auto count = static_cast<std::int64_t>(targets.size());
  const std::int64_t words = (BytesOf(encoding, shape.in) + 1) / 2;
  Buffer rows = tools.upload.Run(count, words, [&](std::int64_t i, std::uint16_t* to) {
    const std::int64_t row = targets[static_cast<std::size_t>(i)];
    CopyRow(FindRow(parts, SourceRow(row, layout, shape.out, kHeadDim)), to);
  });
  Buffer target_rows = tools.upload.Run(count, 2, [&](std::int64_t i, std::uint16_t* to) {
    std::memcpy(to, &targets[static_cast<std::size_t>(i)], sizeof(std::int32_t));
  });
  return {encoding, 2 * words, count, std::move(rows), std::move(target_rows)};
}

std::unique_ptr<BlocksLinear> BlocksLinear::Make(std::span<const WeightSlice> parts,
                                                 std::span<const WeightSlice> bias,
                                                 LinearLayout layout, LinearTools& tools,
                                                 OpStream& stream) {
  const LinearShape shape = CheckedLinearShape(parts, bias, layout);
  Check(shape.in % 8 == 0, "a linear's columns come in eights");
  Check(layout != LinearLayout::kGateUp || parts[0].rows % kHalfTile == 0,
        "a gate-up weight's rows come in eights");
  std::vector<Group> groups;
  for (const WeightSlice& part : parts) {
    const Encoding encoding = KeptAs(part);
    const auto has_it = [&](const Group& group) { return group.encoding == encoding; };
    if (std::ranges::any_of(groups, has_it)) continue;
    groups.push_back(MakeGroup(parts, encoding, layout, shape, tools));
  }
  Buffer bias_buffer = UploadBias(bias, layout, shape.out, tools.upload);
  const ExpandedWeight expanded =
      ReserveExpanded(layout, parts.size(), shape, bias_buffer.data(), tools, stream);
  return std::unique_ptr<BlocksLinear>(
      new BlocksLinear(expanded, std::move(groups), std::move(bias_buffer), tools));
}

BlocksLinear::BlocksLinear(const ExpandedWeight& expanded, std::vector<Group> groups, Buffer bias,
                           LinearTools& tools)
    : CudaLinear(expanded.layout, expanded.shape),
      expanded_(expanded),
      groups_(std::move(groups)),
      bias_(std::move(bias)),
      tools_(tools) {}

std::size_t BlocksLinear::bytes() const {
  std::size_t bytes = bias_.bytes();
  for (const Group& group : groups_) bytes += group.rows.bytes() + group.targets.bytes();
  return bytes;
}

// A weight that goes in pieces has one group, whose rows are the product's in order: a piece's
// first ones become rows 0, 1, … of it.
void BlocksLinear::Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const {
  const auto expand = [&](std::int64_t first, std::int64_t count, void* to) {
    for (const Group& group : groups_) {
      LaunchBlocksExpand(
          {.data = static_cast<const std::byte*>(group.rows.data()) + first * group.row_bytes,
           .encoding = group.encoding,
           .row_bytes = group.row_bytes,
           .count = std::min(count, group.count),
           .targets = static_cast<const std::int32_t*>(group.targets.data())},
          in_features(), to, stream.Get());
    }
    LaunchAwaitExpanded(stream.Get());
  };
  MultiplyExpanded(expanded_, expand, x, output, tools_, stream);
}

}  // namespace thinkwire::worker::kernels
