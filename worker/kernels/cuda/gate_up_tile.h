#pragma once

#include <cstdint>

namespace thinkwire::worker::kernels {

// Gate and up rows of a kGateUp weight alternate in tiles of eight: rows 16 i .. 16 i + 7 are gates
// 8 i .. 8 i + 7, rows 16 i + 8 .. 16 i + 15 their ups. So both sums of a feature end in one thread
// of a tensor-core step.
inline constexpr int kGateUpTile = 8;

// Which row of [gate; up] stands at `row` of the weight with `rows` = 2 F rows.
constexpr std::int64_t GateUpRow(std::int64_t row, std::int64_t rows) {
  const std::int64_t feature = row / (2 * kGateUpTile) * kGateUpTile + row % kGateUpTile;
  return row / kGateUpTile % 2 == 0 ? feature : rows / 2 + feature;
}

}  // namespace thinkwire::worker::kernels
