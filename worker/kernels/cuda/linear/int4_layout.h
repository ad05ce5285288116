#pragma once

#include <cstdint>
#include <span>

#include "worker/kernels/int4_block.h"

// How a weight of 4 bits lies on the GPU: tiles of 64 rows one after another, each a row of blocks
// of 128 columns that share a scale and a zero point a row, each block four strips of 16 rows, what
// one warp multiplies. Everything that a k16 step of a tensor core needs of a strip is one word a
// lane, and what a warp reads of a block, and the copy engine of a tile, is whole and in order.
//
// A strip's block, with g = lane / 4, t = lane % 4 (tensor_core.cuh):
//   1,024 bytes  word j of 4 of lane l of half h holds k16 step 4 h + j. Its bits 4 i .. 4 i + 3
//                are the element in the low half of the lane's register a[i], row g + 8 (i & 1),
//                column 2t + 8 (i >> 1); bits 16 + 4 i .. 16 + 4 i + 3 the next column's.
//   64 bytes     a word a row (int4_block.h), those of rows g and g + 8 side by side.
namespace thinkwire::worker::kernels {

inline constexpr int kInt4StripRows = 16;
inline constexpr int kInt4TileStrips = 4;
inline constexpr int kInt4TileRows = kInt4TileStrips * kInt4StripRows;
inline constexpr int kInt4ValueBytes = kInt4StripRows * kInt4Columns / 2;
inline constexpr int kInt4StripBytes = kInt4ValueBytes + 4 * kInt4StripRows;  // of a block
inline constexpr int kInt4BlockBytes = kInt4TileStrips * kInt4StripBytes;     // of a tile

constexpr std::int64_t Int4Tiles(std::int64_t rows) {
  return (rows + kInt4TileRows - 1) / kInt4TileRows;
}
constexpr std::int64_t Int4TileBytes(std::int64_t columns) {
  return columns / kInt4Columns * kInt4BlockBytes;
}

// Writes a tile of `columns` columns to `to`, Int4TileBytes(columns) long. Rows are as a slice of
// kInt4 has them, or null: zeros. REQUIRES: 64 rows; columns in 128s.
void PackInt4Tile(std::span<const char* const> rows, std::int64_t columns, std::uint32_t* to);

}  // namespace thinkwire::worker::kernels
