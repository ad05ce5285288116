#pragma once

#include <cstdint>

#include "worker/kernels/blocks_fp8.h"

// How matrices lie on the GPU that many little products share (experts, heads): in tiles of 16
// rows, so that a lane of a tensor-core step (tensor_core.cuh) reads its part of the weights in
// pieces of 16 bytes, and a warp 512 bytes in a row. With g = lane / 4, t = lane % 4, and columns
// permuted within each k16 step, which changes no bit of a chain: 4t .. 4t + 3 stand where 2t,
// 2t + 1, 2t + 8 and 2t + 9 would.
//   kBf16  of each k16 step 512 bytes, 16 a lane: row g's columns 4t, 4t + 1, row g + 8's, then
//          row g's columns 4t + 2, 4t + 3, row g + 8's
//   kFp8   of each 128 columns 2,048 bytes of e4m3, four pieces a lane, each two k16 steps: of both
//          row g's columns 4t .. 4t + 3, then row g + 8's; then the 16 rows' scales as f32
namespace thinkwire::worker::kernels {

enum class TileFormat : std::uint8_t { kBf16, kFp8 };

inline constexpr int kTileMatrixRows = 16;
inline constexpr int kTileStep = 16;  // columns of a step
inline constexpr int kFp8TileBytes = kTileMatrixRows * kFp8Columns + kTileMatrixRows * 4;

// Of one tile. REQUIRES: columns in 16s, of kFp8 in 128s.
constexpr std::int64_t TileBytes(TileFormat format, std::int64_t columns) {
  return format == TileFormat::kBf16 ? columns * kTileMatrixRows * 2
                                     : columns / kFp8Columns * kFp8TileBytes;
}

}  // namespace thinkwire::worker::kernels
