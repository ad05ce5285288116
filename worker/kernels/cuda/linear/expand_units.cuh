#pragma once

#include <algorithm>
#include <cstdint>

#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/int4_layout.h"

// Units of packed weights, in int4_layout.h's order of tiles, to rows of bf16: for products of so
// many tokens that reading the weights twice more counts for little.
//
// Mapping. A warp takes a unit's block of 8 x 128 at a time, brings it in order through shared
// memory, in rows of 272 bytes so that no bank is met twice, and stores two rows of 256 bytes at
// once.
//
// Roof: the packed bytes read and two written for each weight, at DRAM speed.
namespace thinkwire::worker::kernels {

inline constexpr int kExpandWarps = 4;
inline constexpr int kExpandRowWords = kInt4Columns / 2 + 4;

struct ExpandInput {
  const unsigned char* tiles;
  std::int64_t units;  // of all blocks
  int blocks;          // of a row
  int rows;
  std::int64_t first_row;  // of out that is the first one's
};

inline ExpandInput MakeExpandInput(const void* tiles, Int4Tiling tiling, std::int64_t rows,
                                   std::int64_t columns, std::int64_t first_row) {
  const auto blocks = static_cast<int>(columns / kInt4Columns);
  return {static_cast<const unsigned char*>(tiles),
          Int4Tiles(rows, tiling) * blocks * Int4TileUnits(tiling), blocks, static_cast<int>(rows),
          first_row};
}

inline LaunchShape ExpandShape(const ExpandInput& input) {
  constexpr std::int64_t kMostBlocks = 132 * 16;
  const std::int64_t blocks =
      std::min(kMostBlocks, (input.units + kExpandWarps - 1) / kExpandWarps);
  return {.grid = dim3(static_cast<unsigned>(blocks)), .block = dim3(32 * kExpandWarps)};
}

#if __CUDA_ARCH__ >= 900

// A block's share. make_unit(unit, lane, tile) is called by a warp and writes the unit's rows of
// bf16 pairs to `tile`, kExpandRowWords words apart.
template <int kUnitBytes, Int4Tiling kTiling, class MakeUnit>
__device__ __forceinline__ void ExpandUnits(const ExpandInput& input, uint4* out,
                                            const MakeUnit& make_unit) {
  constexpr int kUnits = Int4TileUnits(kTiling);
  constexpr int kPieces = kInt4Columns / 8;  // of 16 bytes, of a block's row
  __shared__ uint4 tiles[kExpandWarps][kInt4UnitRows * kExpandRowWords / 4];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint4* const tile = tiles[threadIdx.x / 32];
  const std::int64_t row_pieces = input.blocks * kPieces;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kExpandWarps;
  for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kExpandWarps + threadIdx.x / 32;
       at < input.units; at += step) {
    __syncwarp();
    make_unit(input.tiles + at * kUnitBytes, lane, reinterpret_cast<std::uint32_t*>(tile));
    __syncwarp();
    const std::int64_t block = at / kUnits;  // of all tiles'
    const std::int64_t first_row = block / input.blocks * Int4TileRows(kTiling);
    const std::int64_t piece = block % input.blocks * kPieces + lane % kPieces;
#pragma unroll
    for (int g = lane / kPieces; g < kInt4UnitRows; g += 32 / kPieces) {
      const std::int64_t row = first_row + Int4UnitRow(static_cast<int>(at % kUnits), g, kTiling);
      if (row >= input.rows) break;
      out[(input.first_row + row) * row_pieces + piece] =
          tile[g * (kExpandRowWords / 4) + lane % kPieces];
    }
  }
}

#endif

}  // namespace thinkwire::worker::kernels
