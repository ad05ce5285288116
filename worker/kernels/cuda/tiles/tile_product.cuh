#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "worker/kernels/cuda/device/async_copy.cuh"
#include "worker/kernels/cuda/device/shared_load.cuh"
#include "worker/kernels/cuda/device/tensor_core.cuh"
#include "worker/kernels/cuda/tiles/tile_layout.h"

// One warp's product of a tile of 16 rows of W (tile_layout.h) with 8 kSubs tokens: one chain of
// k16 steps ascending in K per sum, as every other product of this backend. Weights in FP8 enter
// the chain as bf16(float(code) * scale).
//
// Weights are read once, past the first cache, into a ring of the warp's own in shared memory: the
// bytes that are on their way at any moment are what bandwidth is made of. Each lane multiplies
// what it asked for itself, but for FP8's scales. Tokens' rows come from the caches.
namespace thinkwire::worker::kernels {

template <TileFormat kFormat>
struct TilePiece;  // so many steps of a lane's weights

template <>
struct TilePiece<TileFormat::kBf16> {
  static constexpr int kSteps = 4;
  static constexpr int kBytes = kSteps * kTileStep * kTileMatrixRows * 2;
  uint4 words[kSteps];

  // Asks for what of the tile's `steps` is there from step `first` on.
  static __device__ __forceinline__ void Request(std::uint32_t to, const std::uint8_t* tile,
                                                 int first, int steps, int lane) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const std::int64_t at = first + i;
      if (at < steps) CopyPiece(to + i * 512 + lane * 16, tile + at * 512 + lane * 16);
    }
  }
  __device__ __forceinline__ void Load(std::uint32_t from, int lane) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) words[i] = LoadShared16(from + i * 512 + lane * 16);
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
  static constexpr int kBytes = kFp8TileBytes;
  static constexpr int kCodes = kTileMatrixRows * kFp8Columns;
  uint4 words[kSteps / 2];
  float scales[2];  // of rows g and g + 8

  static __device__ __forceinline__ void Request(std::uint32_t to, const std::uint8_t* tile,
                                                 int first, int /*steps*/, int lane) {
    const std::uint8_t* const block = tile + static_cast<std::int64_t>(first / kSteps) * kBytes;
#pragma unroll
    for (int i = 0; i < kSteps / 2; ++i) {
      CopyPiece(to + i * 512 + lane * 16, block + i * 512 + lane * 16);
    }
    if (lane < kTileMatrixRows / 4) {
      CopyPiece(to + kCodes + lane * 16, block + kCodes + lane * 16);
    }
  }
  __device__ __forceinline__ void Load(std::uint32_t from, int lane) {
#pragma unroll
    for (int i = 0; i < kSteps / 2; ++i) words[i] = LoadShared16(from + i * 512 + lane * 16);
    scales[0] = __uint_as_float(LoadShared4(from + kCodes + lane / 4 * 4));
    scales[1] = __uint_as_float(LoadShared4(from + kCodes + lane / 4 * 4 + 32));
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

// Of a warp's ring: deep where weights are all there is to wait for.
constexpr int TileStages(int subs) { return subs <= 2 ? 6 : 2; }
template <TileFormat kFormat, int kSubs>
constexpr int TileRingBytes() {
  return TileStages(kSubs) * TilePiece<kFormat>::kBytes;
}

// What a lane multiplies with in a step: `row` is its token's of x, or null for zeros.
__device__ __forceinline__ uint2 TileTokens(const __nv_bfloat16* row, int step, int lane) {
  if (row == nullptr) return {};
  return *reinterpret_cast<const uint2*>(row + step * kTileStep + lane % 4 * 4);
}

template <TileFormat kFormat, int kSubs>
class TileProduct {
 public:
  // `ring` has TileRingBytes of shared memory, aligned to 16 bytes, for this warp; `steps` is
  // K / 16. Asks for the first weights.
  __device__ __forceinline__ TileProduct(const std::uint8_t* tile, int steps, std::uint32_t ring)
      : tile_(tile), steps_(steps), ring_(ring), lane_(static_cast<int>(threadIdx.x % 32)) {
#pragma unroll
    for (int stage = 0; stage < kStages; ++stage) Request(stage * Piece::kSteps, stage);
  }

  // sums[s] as Mma's C: rows g and g + 8, tokens 8 s + 2t and + 1. `rows[s]` is token 8 s + g's row
  // of x, or null for zeros. Once.
  __device__ __forceinline__ void Run(const __nv_bfloat16* const (&rows)[kSubs],
                                      float (&sums)[kSubs][4]) const {
#pragma unroll
    for (int s = 0; s < kSubs; ++s) {
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[s][c] = 0.0F;
    }
    Tokens next;
    LoadAhead(rows, 0, next);
    int stage = 0;
    for (int first = 0; first < steps_; first += Piece::kSteps) {
      const Piece piece = Take(first, stage);
      stage = stage + 1 == kStages ? 0 : stage + 1;
      Add(piece, rows, first, next, sums);
    }
  }

 private:
  using Piece = TilePiece<kFormat>;
  static constexpr int kStages = TileStages(kSubs);
  // Asked for before what is before them is multiplied: of one sub those of a piece's steps, of
  // several those of a step; of many with FP8, which leaves no registers for them, none.
  static constexpr bool kByPiece = kSubs == 1;
  static constexpr bool kByStep = !kByPiece && (kSubs == 2 || kFormat == TileFormat::kBf16);
  struct Tokens {
    uint2 b[kByPiece ? Piece::kSteps : kSubs];
  };

  __device__ __forceinline__ void Request(int first, int stage) const {
    if (first < steps_) Piece::Request(ring_ + stage * Piece::kBytes, tile_, first, steps_, lane_);
    EndCopies();
  }

  // The piece from step `first` on; asks for the one that takes its place.
  __device__ __forceinline__ Piece Take(int first, int stage) const {
    AwaitCopies<kStages - 1>();
    __syncwarp();
    Piece piece;
    piece.Load(ring_ + stage * Piece::kBytes, lane_);
    __syncwarp();
    Request(first + kStages * Piece::kSteps, stage);
    return piece;
  }

  __device__ __forceinline__ void LoadStep(const __nv_bfloat16* const (&rows)[kSubs], int step,
                                           uint2* b) const {
#pragma unroll
    for (int s = 0; s < kSubs; ++s) {
      b[s] = TileTokens(step < steps_ ? rows[s] : nullptr, step, lane_);
    }
  }

  // Those from step `first` on, of several subs its own.
  __device__ __forceinline__ void LoadAhead(const __nv_bfloat16* const (&rows)[kSubs], int first,
                                            Tokens& next) const {
#pragma unroll
    for (int i = 0; i < (kByPiece ? Piece::kSteps : kByStep ? 1 : 0); ++i) {
      LoadStep(rows, first + i, next.b + i);
    }
  }

  // The piece from step `first` on, whose tokens, or the first of them, are in `next`; then the
  // next one's are.
  __device__ __forceinline__ void Add(const Piece& piece, const __nv_bfloat16* const (&rows)[kSubs],
                                      int first, Tokens& next, float (&sums)[kSubs][4]) const {
    Tokens tokens = next;
    if constexpr (kByPiece) LoadAhead(rows, first + Piece::kSteps, next);
#pragma unroll
    for (int i = 0; i < Piece::kSteps; ++i) {
      if (kFormat == TileFormat::kBf16 && first + i >= steps_) break;
      std::uint32_t a[4];
      piece.Weights(i, a);
      if constexpr (kByStep) {
        tokens = next;
        LoadAhead(rows, first + i + 1, next);
      }
#pragma unroll
      for (int s = 0; s < kSubs; ++s) {
        const uint2 b = kByPiece || kByStep ? tokens.b[kByPiece ? i : s]
                                            : TileTokens(rows[s], first + i, lane_);
        Mma(sums[s], a, b.x, b.y);
      }
    }
  }

  const std::uint8_t* const tile_;
  const int steps_;
  const std::uint32_t ring_;
  const int lane_;
};

}  // namespace thinkwire::worker::kernels
