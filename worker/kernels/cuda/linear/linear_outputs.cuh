#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/cuda/linear/rope.cuh"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/swiglu.cuh"

// What becomes of the sums of a 16-row tile and 8 tokens in the lane 4 g + t that holds them: d[0],
// d[1] of row g and d[2], d[3] of row g + 8, for tokens 2t and 2t + 1. `row` is that of d[0].
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
    const int head = row / kHeadDim;
    const int element = row % kHeadDim / (2 * kHalfTile) * kHalfTile + row % kHalfTile;
    float low_bias = 0.0F;
    float high_bias = 0.0F;
    if (target.bias != nullptr) {
      low_bias = __bfloat162float(target.bias[row]);
      high_bias = __bfloat162float(target.bias[row + kHalfTile]);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      if (token + i >= tokens || places[token + i].block < 0) continue;
      StoreQkvPair(target, token + i, places[token + i], head, element, __fadd_rn(d[i], low_bias),
                   __fadd_rn(d[i + 2], high_bias));
    }
  }
};

}  // namespace thinkwire::worker::kernels
