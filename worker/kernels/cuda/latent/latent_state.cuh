#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/latent/latent_work.cuh"

// What a block of latent attention's kernel has in registers, in shared memory and, of earlier
// segments, in global memory; latent_attention.cu says how the block shares its work out.
namespace thinkwire::worker::kernels {

inline constexpr int kLatentKey = kLatentWidth + kLatentRotated;
inline constexpr int kLatentThreads = 256;
inline constexpr int kLatentTile = 32;  // keys
inline constexpr int kLatentHeads = kLatentBlockHeads;
inline constexpr int kLatentHeadTiles = kLatentHeads / kTileRows;
// Warps that have the same 16 heads: each a part of a tile's keys, then of the columns.
inline constexpr int kLatentParts = kLatentThreads / 32 / kLatentHeadTiles;
inline constexpr int kLatentPartKeys = kLatentTile / kLatentParts;
inline constexpr int kLatentPartColumns = kLatentWidth / kLatentParts;
static_assert(kLatentPartKeys == 8 && kLatentParts == 4, "a part is one tile of keys");

// Shared memory: the queries, two tiles, weights, maxima, where tokens' items
// start. Rows of it begin in other banks than
// their seven neighbours'.
inline constexpr int kLatentRow = (kLatentKey + 8) * 2;  // bytes
inline constexpr int kLatentWeightRow = (kLatentTile + 8) * 2;
inline constexpr int kLatentTileAt = kLatentHeads * kLatentRow;
inline constexpr int kLatentTileBytes = kLatentTile * kLatentRow;
inline constexpr int kLatentWeightsAt = kLatentTileAt + 2 * kLatentTileBytes;
inline constexpr int kLatentMaximaAt = kLatentWeightsAt + kLatentHeads * kLatentWeightRow;
inline constexpr int kLatentStartsAt = kLatentMaximaAt + kLatentHeads * kLatentParts * 4;
inline constexpr int kLatentSharedBytes = kLatentStartsAt + (kMostSplitTokens + 1) * 2;

inline constexpr int kLatentColumnTiles = kLatentPartColumns / 8;  // a warp's

// What a warp has of its 16 heads: rows g and g + 8.
struct LatentState {
  float o[kLatentColumnTiles][4];
  float l[4];    // l[0] and l[2]
  float max[2];  // times scale

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (int i = 0; i < kLatentColumnTiles; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) o[i][c] = 0.0F;
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) l[c] = 0.0F;
    max[0] = max[1] = MinusInfinity();
  }
  __device__ __forceinline__ void Scale(float low, float high) {
#pragma unroll
    for (int i = 0; i < kLatentColumnTiles; ++i) {
      o[i][0] = __fmul_rn(o[i][0], low);
      o[i][1] = __fmul_rn(o[i][1], low);
      o[i][2] = __fmul_rn(o[i][2], high);
      o[i][3] = __fmul_rn(o[i][3], high);
    }
    l[0] = __fmul_rn(l[0], low);
    l[1] = __fmul_rn(l[1], low);
    l[2] = __fmul_rn(l[2], high);
    l[3] = __fmul_rn(l[3], high);
  }
};

// Where a warp keeps what it has of the segments so far, in global memory.
struct LatentKept {
  float4* at;  // [column tiles, 32 lanes]

  __device__ __forceinline__ void Store(const LatentState& state) const {
#pragma unroll
    for (int i = 0; i < kLatentColumnTiles; ++i) {
      at[i * 32 + threadIdx.x % 32] =
          make_float4(state.o[i][0], state.o[i][1], state.o[i][2], state.o[i][3]);
    }
  }
  __device__ __forceinline__ void MergeBefore(const MergeFactors (&factors)[2],
                                              LatentState& state) const {
#pragma unroll
    for (int i = 0; i < kLatentColumnTiles; ++i) {
      const float4 before = at[i * 32 + threadIdx.x % 32];
      state.o[i][0] = Merged(before.x, state.o[i][0], factors[0]);
      state.o[i][1] = Merged(before.y, state.o[i][1], factors[0]);
      state.o[i][2] = Merged(before.z, state.o[i][2], factors[1]);
      state.o[i][3] = Merged(before.w, state.o[i][3], factors[1]);
    }
  }
};

}  // namespace thinkwire::worker::kernels
