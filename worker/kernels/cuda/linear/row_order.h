#pragma once

#include <cstdint>

#include "worker/kernels/weights.h"

// Orders of a weight's rows that bring the two sums that belong together into one thread of a
// tensor-core step, which holds rows g and g + 8 of each tile of 16.
namespace thinkwire::worker::kernels {

inline constexpr int kHalfTile = 8;

// Which row of [gate; up], 2 F rows, stands at `row` of a kGateUp weight: a tile's first eight rows
// are gates, its last eight their ups.
constexpr std::int64_t GateUpRow(std::int64_t row, std::int64_t rows) {
  const std::int64_t feature = row / (2 * kHalfTile) * kHalfTile + row % kHalfTile;
  return row / kHalfTile % 2 == 0 ? feature : rows / 2 + feature;
}

// Which row of [q; k; v], heads of D rows, stands at `row` of a kQkv weight: a tile's first eight
// rows are elements i .. i + 7 of a head, its last eight i + D/2 .. i + D/2 + 7, the pairs that
// rotate together.
constexpr std::int64_t QkvRow(std::int64_t row, int head_dim) {
  const std::int64_t in_head = row % head_dim;
  const std::int64_t element = in_head / (2 * kHalfTile) * kHalfTile + in_head % kHalfTile;
  return row - in_head + element + (in_head / kHalfTile % 2 == 0 ? 0 : head_dim / 2);
}

// The row of the stacked parts that stands at `row` of a weight on the GPU.
constexpr std::int64_t SourceRow(std::int64_t row, LinearLayout layout, std::int64_t rows,
                                 int head_dim) {
  if (layout == LinearLayout::kGateUp) return GateUpRow(row, rows);
  return layout == LinearLayout::kQkv ? QkvRow(row, head_dim) : row;
}

}  // namespace thinkwire::worker::kernels
