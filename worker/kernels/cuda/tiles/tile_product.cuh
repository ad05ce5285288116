#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "worker/kernels/cuda/device/tensor_core.cuh"
#include "worker/kernels/cuda/tiles/tile_layout.h"

// One warp's product of a tile of 16 rows of W (tile_layout.h) with 8 kSubs tokens: one chain of
// k16 steps ascending in K per sum, as every other product of this backend. Weights in FP8 enter
// the chain as bf16(float(code) * scale). Weights are read once, past the first cache, and the
// next ones asked for before the present ones are used; tokens' rows come from the caches.
namespace thinkwire::worker::kernels {

template <TileFormat kFormat>
struct TilePiece;  // so many steps of a lane's weights

template <>
struct TilePiece<TileFormat::kBf16> {
  static constexpr int kSteps = 4;
  uint4 words[kSteps];

  // `steps` of the tile from `first` on are there.
  __device__ __forceinline__ void Load(const std::uint8_t* tile, int first, int steps, int lane) {
    const auto* const from = reinterpret_cast<const uint4*>(tile) + first * 32 + lane;
#pragma unroll
    for (int i = 0; i < kSteps; ++i) words[i] = first + i < steps ? __ldcs(from + i * 32) : uint4{};
  }
  __device__ __forceinline__ void Weights(int i, std::uint32_t (&a)[4]) const {
    a[0] = words[i].x;
    a[1] = words[i].y;
    a[2] = words[i].z;
    a[3] = words[i].w;
  }
};

template <>
struct TilePiece<TileFormat::kFp8> {
  static constexpr int kSteps = kFp8Columns / kTileStep;
  uint4 words[kSteps / 2];
  float scales[2];  // of rows g and g + 8

  __device__ __forceinline__ void Load(const std::uint8_t* tile, int first, int steps, int lane) {
    if (first >= steps) return;
    const std::uint8_t* const block =
        tile + static_cast<std::int64_t>(first / kSteps) * kFp8TileBytes;
    const auto* const from = reinterpret_cast<const uint4*>(block) + lane;
#pragma unroll
    for (int i = 0; i < kSteps / 2; ++i) words[i] = __ldcs(from + i * 32);
    const auto* const of_rows =
        reinterpret_cast<const float*>(block + kTileMatrixRows * kFp8Columns);
    scales[0] = __ldg(of_rows + lane / 4);
    scales[1] = __ldg(of_rows + lane / 4 + 8);
  }
  // Two codes as bf16 weights.
  static __device__ __forceinline__ std::uint32_t Pair(std::uint32_t codes, float scale) {
    const __half2_raw raw =
        __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(codes & 0xFFFFU), __NV_E4M3);
    const float2 values = __half22float2(__half2(raw));
    const __nv_bfloat162 pair =
        __floats2bfloat162_rn(__fmul_rn(values.x, scale), __fmul_rn(values.y, scale));
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  }
  __device__ __forceinline__ void Weights(int i, std::uint32_t (&a)[4]) const {
    const uint4& both = words[i / 2];
    const std::uint32_t low = i % 2 == 0 ? both.x : both.z;
    const std::uint32_t high = i % 2 == 0 ? both.y : both.w;
    a[0] = Pair(low, scales[0]);
    a[1] = Pair(high, scales[1]);
    a[2] = Pair(low >> 16, scales[0]);
    a[3] = Pair(high >> 16, scales[1]);
  }
};

// sums[s] as Mma's C: rows g and g + 8, tokens 8 s + 2t and + 1. `rows[s]` is token 8 s + g's row
// of x, or null for zeros; `steps` is K / 16.
template <TileFormat kFormat, int kSubs>
__device__ __forceinline__ void TileProduct(const std::uint8_t* tile, int steps,
                                            const __nv_bfloat16* const (&rows)[kSubs],
                                            float (&sums)[kSubs][4]) {
  using Piece = TilePiece<kFormat>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int column = lane % 4 * 4;
#pragma unroll
  for (int s = 0; s < kSubs; ++s) {
#pragma unroll
    for (int c = 0; c < 4; ++c) sums[s][c] = 0.0F;
  }
  Piece next;
  next.Load(tile, 0, steps, lane);
  for (int first = 0; first < steps; first += Piece::kSteps) {
    const Piece piece = next;
    next.Load(tile, first + Piece::kSteps, steps, lane);
#pragma unroll
    for (int i = 0; i < Piece::kSteps; ++i) {
      if (kFormat == TileFormat::kBf16 && first + i >= steps) break;
      std::uint32_t a[4];
      piece.Weights(i, a);
#pragma unroll
      for (int s = 0; s < kSubs; ++s) {
        uint2 b = {};
        if (rows[s] != nullptr) {
          b = *reinterpret_cast<const uint2*>(rows[s] + (first + i) * kTileStep + column);
        }
        Mma(sums[s], a, b.x, b.y);
      }
    }
  }
}

}  // namespace thinkwire::worker::kernels
