#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/cuda/linear/rope.cuh"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/swiglu.cuh"

// What becomes of the sums of a 16-row tile in the lane that holds them, asked for in two ways:
// - with 8 tokens, lane 4 g + t: d[0], d[1] of row g and d[2], d[3] of row g + 8, for tokens 2t and
//   2t + 1. `row` is that of d[0], `places` are all tokens'.
// - with one token (Four): low of rows `row` and row + 1, high of row + 8 and row + 9. Where
//   kPairsRows is false, Two takes low alone.
namespace thinkwire::worker::kernels {

struct StoreF32 {
  float* out;  // [tokens, rows]
  int rows;
  int tokens;

  static constexpr bool kPlaces = false;
  __device__ __forceinline__ void operator()(int row, int token, const float (&d)[4],
                                             const TokenPlace*) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (token + i >= tokens) continue;
      float* const to = out + static_cast<std::int64_t>(token + i) * rows + row;
      if (row < rows) to[0] = d[i];
      if (row + 8 < rows) to[8] = d[i + 2];
    }
  }

  static constexpr bool kPairsRows = false;
  __device__ __forceinline__ void Two(int row, int token, float2 sums) const {
    if (row >= rows) return;
    *reinterpret_cast<float2*>(out + static_cast<std::int64_t>(token) * rows + row) = sums;
  }
  __device__ __forceinline__ void Four(int row, int token, float2 low, float2 high,
                                       const TokenPlace&) const {
    Two(row, token, low);
    Two(row + 8, token, high);
  }
};

struct StoreBf16 {
  __nv_bfloat16* out;  // [tokens, rows]
  int rows;
  int tokens;

  static constexpr bool kPlaces = false;
  __device__ __forceinline__ void operator()(int row, int token, const float (&d)[4],
                                             const TokenPlace*) const {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (token + i >= tokens) continue;
      __nv_bfloat16* const to = out + static_cast<std::int64_t>(token + i) * rows + row;
      if (row < rows) to[0] = __float2bfloat16_rn(d[i]);
      if (row + 8 < rows) to[8] = __float2bfloat16_rn(d[i + 2]);
    }
  }

  static constexpr bool kPairsRows = false;
  __device__ __forceinline__ void Two(int row, int token, float2 sums) const {
    if (row >= rows) return;
    *reinterpret_cast<__nv_bfloat162*>(out + static_cast<std::int64_t>(token) * rows + row) =
        __float22bfloat162_rn(sums);
  }
  __device__ __forceinline__ void Four(int row, int token, float2 low, float2 high,
                                       const TokenPlace&) const {
    Two(row, token, low);
    Two(row + 8, token, high);
  }
};

struct StoreSwiGlu {
  __nv_bfloat16* out;  // [tokens, rows / 2]
  int rows;
  int tokens;

  static constexpr bool kPlaces = false;
  __device__ __forceinline__ void operator()(int row, int token, const float (&d)[4],
                                             const TokenPlace*) const {
    if (row >= rows) return;
    const int feature = row / (2 * kHalfTile) * kHalfTile + row % kHalfTile;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (token + i >= tokens) continue;
      out[static_cast<std::int64_t>(token + i) * (rows / 2) + feature] = SwiGlu(d[i], d[i + 2]);
    }
  }

  static constexpr bool kPairsRows = true;
  __device__ __forceinline__ void Four(int row, int token, float2 gate, float2 up,
                                       const TokenPlace&) const {
    if (row >= rows) return;
    const int feature = row / (2 * kHalfTile) * kHalfTile + row % kHalfTile;
    *reinterpret_cast<__nv_bfloat162*>(out + static_cast<std::int64_t>(token) * (rows / 2) +
                                       feature) =
        __nv_bfloat162(SwiGlu(gate.x, up.x), SwiGlu(gate.y, up.y));
  }
};

struct StoreQkv {
  QkvTarget target;
  int rows;
  int tokens;

  // The block looks up its tokens' places while the first weights travel.
  static constexpr bool kPlaces = true;

  __device__ __forceinline__ void operator()(int row, int token, const float (&d)[4],
                                             const TokenPlace* places) const {
    if (row >= rows) return;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (token + i < tokens) Pair(row, token + i, d[i], d[i + 2], places[token + i]);
    }
  }

  // Of rows `row` and row + 8; zeros where there is none.
  struct Bias {
    __nv_bfloat16 low;
    __nv_bfloat16 high;
  };
  __device__ __forceinline__ Bias BiasOf(int row) const {
    if (target.bias == nullptr || row >= rows) return {};
    return {target.bias[row], target.bias[row + kHalfTile]};
  }
  // The same as operator() with what was fetched before: the rows' bias, and each token's row of
  // the rope table.
  __device__ __forceinline__ void Store(int row, int token, const float (&d)[4],
                                        const TokenPlace* places, const float (*angles)[kHeadDim],
                                        const Bias& bias) const {
    if (row >= rows) return;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (token + i >= tokens) continue;
      const float* const angle = angles[token + i] + ElementOf(row);
      Pair(row, token + i, d[i], d[i + 2], places[token + i], bias,
           {angle[0], angle[kHeadDim / 2]});
    }
  }

  static constexpr bool kPairsRows = true;
  __device__ __forceinline__ void Four(int row, int token, float2 low, float2 high,
                                       const TokenPlace& place) const {
    if (row >= rows) return;
    Pair(row, token, low.x, high.x, place);
    Pair(row + 1, token, low.y, high.y, place);
  }

 private:
  // Of a head, the one that row `row` is; row + 8 is the one 64 further.
  static __device__ __forceinline__ int ElementOf(int row) {
    return row % kHeadDim / (2 * kHalfTile) * kHalfTile + row % kHalfTile;
  }

  // Rows `row` and row + 8, which rotate together.
  __device__ __forceinline__ void Pair(int row, int token, float low, float high,
                                       const TokenPlace& place, const Bias& bias,
                                       const RopeAngle& angle) const {
    if (place.block < 0) return;
    if (target.bias != nullptr) {
      low = __fadd_rn(low, __bfloat162float(bias.low));
      high = __fadd_rn(high, __bfloat162float(bias.high));
    }
    StoreQkvPair(target, token, place, row / kHeadDim, ElementOf(row), low, high, angle);
  }
  __device__ __forceinline__ void Pair(int row, int token, float low, float high,
                                       const TokenPlace& place) const {
    if (place.block < 0) return;
    RopeAngle angle = {};
    if (Rotates(target, row / kHeadDim)) angle = AngleOf(target, place, ElementOf(row));
    Pair(row, token, low, high, place, BiasOf(row), angle);
  }
};

}  // namespace thinkwire::worker::kernels
