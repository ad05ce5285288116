#pragma once

#include <cstdint>

#include "worker/kernels/cuda/device/bf16_pieces.cuh"

// The norm of one row by one block, shared by all kernels that end in one, so that all give the
// same bits. Thread i of kRowThreads owns the 16-byte pieces i, i + kRowThreads, ... of the row and
// holds them in registers. Canonical order: a thread adds its squares in ascending order, a warp's
// threads are added by halving distances, warps in ascending order: by E alone.
namespace thinkwire::worker::kernels {

inline constexpr int kRowThreads = 256;
inline constexpr int kRowWarps = kRowThreads / 32;
inline constexpr int kMostRowPieces = 8;  // a thread's, so that E is at most 16,384

// Over threads 0 .. kRowThreads - 1, which all call `sync` once.
template <class Sync>
__device__ __forceinline__ float SumOverThreads(float sum, float (&warp_sums)[kRowWarps],
                                                const Sync& sync) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    sum = __fadd_rn(sum, __shfl_xor_sync(0xFFFFFFFFU, sum, distance));
  }
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
  sync();
  float total = warp_sums[0];
#pragma unroll
  for (int warp = 1; warp < kRowWarps; ++warp) total = __fadd_rn(total, warp_sums[warp]);
  return total;
}

// Over a block of kRowThreads. Calls __syncthreads once.
__device__ __forceinline__ float SumOverBlock(float sum, float (&warp_sums)[kRowWarps]) {
  return SumOverThreads(sum, warp_sums, [] { __syncthreads(); });
}

__device__ __forceinline__ Eight Add(const Eight& a, const Eight& b) {
  Eight sum;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum.v[i] = __fadd_rn(a.v[i], b.v[i]);
  return sum;
}

__device__ __forceinline__ float AddSquares(const Eight& values, float sum) {
#pragma unroll
  for (int i = 0; i < 8; ++i) sum = __fmaf_rn(values.v[i], values.v[i], sum);
  return sum;
}

// 1 / sqrt(mean of squares + eps).
__device__ __forceinline__ float NormFactor(float square_sum, float width, float eps) {
  return __fdiv_rn(1.0F, __fsqrt_rn(__fadd_rn(__fdiv_rn(square_sum, width), eps)));
}

__device__ __forceinline__ uint4 Normed(const Eight& values, float factor, const uint4& weight) {
  const Eight w = Widen(weight);
  Eight normed;
#pragma unroll
  for (int i = 0; i < 8; ++i) normed.v[i] = __fmul_rn(__fmul_rn(values.v[i], factor), w.v[i]);
  return Narrow(normed);
}

}  // namespace thinkwire::worker::kernels
