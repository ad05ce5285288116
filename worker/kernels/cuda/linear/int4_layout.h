#pragma once

#include <cstdint>
#include <span>

#include "worker/kernels/int4_block.h"

// How a weight of 4 bits lies on the GPU: tiles one after another, each a row of blocks of 128
// columns that share a scale and a zero point a row, each block the units of eight rows that four
// warps multiply. Everything that tensor cores need of a unit is one word a lane for two k16 steps,
// and what a warp reads of a block, and the copy engine of a tile, is whole and in order.
//
// A unit's block, with g = lane / 4, t = lane % 4 (tensor_core.cuh):
//   512 bytes  word j of 4 of lane l is row g's of k16 steps 2 j and 2 j + 1: with column c =
//              32 j + 2t the pairs at c, c + 8, c + 16 and c + 24. The even column of each pair is
//              in the lower half of the word, the odd one in the upper.
//     first    q in bits 0 .. 3 of its half
//     second   q - 7.5 as a sign and a whole number of halves, 2 m + 1: m in bits 4 .. 6, the sign
//              in bit 15
//     third, fourth   the same once the word is rotated right by 8 bits: q in bits 8 .. 11, m in
//              bits 12 .. 14, the sign in bit 7 of the other half
//   32 bytes   a word a row: 64 s as two bf16, the upper 8 significant bits of it in the upper half
//              of the word, and in the lower what is left, of whose bits the lowest five are zero
//              and make room for z.
// int4_values.cuh says why so.
namespace thinkwire::worker::kernels {

inline constexpr int kInt4UnitRows = 8;
inline constexpr int kInt4TileWarps = 4;
inline constexpr int kInt4ValueBytes = kInt4UnitRows * kInt4Columns / 2;
inline constexpr int kInt4UnitBytes = kInt4ValueBytes + 4 * kInt4UnitRows;  // of a block

// How many rows a tile has: of 64, each warp has two units, which fill a step of the tensor core.
// Of 32 it has one, so that a weight of few rows keeps twice as many multiprocessors busy, each
// with half of the making; the other half of a step is idle.
enum class Int4Tiling { kWide, kNarrow };

constexpr int Int4WarpUnits(Int4Tiling tiling) { return tiling == Int4Tiling::kWide ? 2 : 1; }
constexpr int Int4TileUnits(Int4Tiling tiling) { return kInt4TileWarps * Int4WarpUnits(tiling); }
constexpr int Int4TileRows(Int4Tiling tiling) { return kInt4UnitRows * Int4TileUnits(tiling); }
constexpr int Int4BlockBytes(Int4Tiling tiling) { return kInt4UnitBytes * Int4TileUnits(tiling); }

constexpr std::int64_t Int4Tiles(std::int64_t rows, Int4Tiling tiling) {
  return (rows + Int4TileRows(tiling) - 1) / Int4TileRows(tiling);
}
constexpr std::int64_t Int4TileBytes(std::int64_t columns, Int4Tiling tiling) {
  return columns / kInt4Columns * Int4BlockBytes(tiling);
}

// Which row of its tile row g of a unit is. Rows i and i + 8 of each 16 are one warp's: of its two
// units, or of the halves of its only one.
constexpr int Int4UnitRow(int unit, int g, Int4Tiling tiling) {
  if (tiling == Int4Tiling::kWide) return kInt4UnitRows * unit + g;
  return unit / 2 * 16 + unit % 2 * 4 + g / 4 * 8 + g % 4;
}

// The tiling under which a product of few tokens takes the least time on a GPU of so many
// multiprocessors.
Int4Tiling ChooseInt4Tiling(std::int64_t rows, int num_sms);

// Writes a tile of `columns` columns to `to`, Int4TileBytes(columns) long. Rows are as a slice of
// kInt4 has them, or null: zeros. REQUIRES: a tile's rows; columns in 128s; |scales| under 2^121.
void PackInt4Tile(std::span<const char* const> rows, std::int64_t columns, Int4Tiling tiling,
                  std::uint32_t* to);

}  // namespace thinkwire::worker::kernels
