#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/cuda/attention/kv_copy.cuh"
#include "worker/kernels/cuda/device/bf16_pieces.cuh"
#include "worker/kernels/cuda/device/tensor_core.cuh"

// Attention's arithmetic, shared by decode and prefill so that a row's bits are the same in both.
//
// A row is one query head of one token. For the row and a segment of 128 keys:
//   s_j = q . k_j               one chain of 8 k16 tensor-core steps, ascending in D
//   m   = max s_j               over the keys at or before the row's position
//   p_j = bf16(exp2(fma(s_j, scale, -(m * scale))))       0 for later keys
//   l   = sum p_j               one chain of k16 steps over the keys, ascending, with a factor of 1
//   o_d = sum p_j v_jd          the same chain
// Segments are merged in ascending order, the first one taken as it is:
//   M' = max(M, m),  a = exp2(M - M'),  b = exp2(m - M')  (m, M times scale)
//   L' = fma(l, b, L * a),  O' = fma(o, b, O * a)
// A segment without a key for the row has l = o = +0, a = 1 and b = -0, and changes no bit. The
// result is bf16(O * (1 / L * value_scale)), whose scale is 1 but for FP8. Keys and values in FP8
// are their codes' numbers, which bf16 holds. All in f32, each operation rounded by itself as
// written.
//
// Steps whose keys are all masked add exact zeros and may be left out.
//
// Fragments are those of tensor_core.cuh,
// so that C of two neighbouring tiles of keys is A of the 16 keys. Half 0 is row g, half 1 row g+8.
namespace thinkwire::worker::kernels {

inline constexpr int kTileRows = 16;            // of one warp's fragments
inline constexpr int kSteps = kHeadDim / 16;    // k16 steps of a score, and of a segment's values
inline constexpr int kRowBytes = kHeadDim * 2;  // of bf16 in shared memory
static_assert(kSegmentKeys == kHeadDim, "A fragments of queries and of weights are alike");

using RowFragments = std::uint32_t[kSteps][4];  // A: 16 rows by 128 of D or of keys

__device__ __forceinline__ float MinusInfinity() { return __int_as_float(0xFF800000); }

__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// This lane's part of the row of half `half`; null is a row of zeros.
__device__ __forceinline__ void LoadQueryRow(const __nv_bfloat16* row, int half, RowFragments& q) {
  const int column = static_cast<int>(threadIdx.x % 4) * 2;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    if (row == nullptr) {
      q[step][half] = 0;
      q[step][half + 2] = 0;
      continue;
    }
    const __nv_bfloat16* at = row + step * 16 + column;
    q[step][half] = *reinterpret_cast<const std::uint32_t*>(at);
    q[step][half + 2] = *reinterpret_cast<const std::uint32_t*>(at + 8);
  }
}

// s[i] = scores of keys first_key + 8 i ..  + 7; first_key a multiple of 16. `keys` is a tile of
// shared memory, 128 x 256 bytes, aligned to 256.
template <int kTiles>
__device__ __forceinline__ void ScoreKeys(Bf16Kv, const RowFragments& q, std::uint32_t keys,
                                          int first_key, float (*s)[4]) {
  const auto lane = threadIdx.x % 32;
  // Matrices: keys 0-7 and k 0-7, keys 0-7 and k 8-15, then the same for keys 8-15.
  const std::uint32_t row = first_key + lane / 16 * 8 + lane % 8;
  const std::uint32_t first = keys + row * kRowBytes + ((lane / 8 % 2) ^ (lane % 8)) * 16;
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) s[i][c] = 0.0F;
  }
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int pair = 0; pair < kTiles / 2; ++pair) {
      std::uint32_t b[4];
      LoadMatrices((first ^ (step * 32)) + pair * 16 * kRowBytes, b);
      Mma(s[pair * 2], q[step], b[0], b[1]);
      Mma(s[pair * 2 + 1], q[step], b[2], b[3]);
    }
  }
}

// Keys from num_keys[half] on, counted from the first of s, are not seen by the row.
template <int kTiles>
__device__ __forceinline__ void MaskScores(const int (&num_keys)[2], float (*s)[4]) {
  const int column = static_cast<int>(threadIdx.x % 4) * 2;
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      if (i * 8 + column + c % 2 >= num_keys[c / 2]) s[i][c] = MinusInfinity();
    }
  }
}

// The largest score of both rows, in all lanes that hold a part of them.
template <int kTiles>
__device__ __forceinline__ void MaxScores(const float (*s)[4], float (&max)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float m = s[0][half * 2];
#pragma unroll
    for (int i = 0; i < kTiles; ++i) m = fmaxf(m, fmaxf(s[i][half * 2], s[i][half * 2 + 1]));
    m = fmaxf(m, __shfl_xor_sync(0xFFFFFFFFU, m, 1));
    max[half] = fmaxf(m, __shfl_xor_sync(0xFFFFFFFFU, m, 2));
  }
}

// What is added to scale * score before exp2. Without any key: 0, so that no NaN arises.
__device__ __forceinline__ float ExponentShift(float max, float scale) {
  return max == MinusInfinity() ? 0.0F : -__fmul_rn(max, scale);
}

__device__ __forceinline__ std::uint32_t Weights(float s0, float s1, float scale, float shift) {
  return PackBf16(Exp2(__fmaf_rn(s0, scale, shift)), Exp2(__fmaf_rn(s1, scale, shift)));
}

// o[i] += weights times values of columns 8 (first_piece + i) .. + 7, for the k16 steps of keys
// [kFirst, kEnd). `first_piece` is a multiple of kTiles; `values` a tile of shared memory as
// ScoreKeys' keys. With kPartial, keys from num_keys on have no value yet: what lies there may be
// NaN and counts as 0.
template <int kTiles, int kFirst, int kEnd, bool kPartial>
__device__ __forceinline__ void AddValues(Bf16Kv, const RowFragments& weights, std::uint32_t values,
                                          int first_piece, int num_keys, float (*o)[4]) {
  const auto lane = threadIdx.x % 32;
  // Matrices: keys 0-7 and columns 0-7, keys 8-15 and columns 0-7, then the same, columns 8-15.
  const std::uint32_t first =
      values + lane % 16 * kRowBytes + ((first_piece + lane / 16) ^ (lane % 8)) * 16;
#pragma unroll
  for (int step = kFirst; step < kEnd; ++step) {
    std::uint32_t keep[2] = {0xFFFFFFFFU, 0xFFFFFFFFU};
    if constexpr (kPartial) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int left = num_keys - (step * 16 + i * 8 + static_cast<int>(lane % 4) * 2);
        keep[i] = left >= 2 ? 0xFFFFFFFFU : left == 1 ? 0x0000FFFFU : 0U;
      }
    }
#pragma unroll
    for (int pair = 0; pair < kTiles / 2; ++pair) {
      std::uint32_t b[4];
      LoadTransposed((first ^ (pair * 32)) + step * 16 * kRowBytes, b);
      if constexpr (kPartial) {
#pragma unroll
        for (int i = 0; i < 4; ++i) b[i] &= keep[i % 2];
      }
      Mma(o[pair * 2], weights[step], b[0], b[1]);
      Mma(o[pair * 2 + 1], weights[step], b[2], b[3]);
    }
  }
}

// sum[0] and sum[2] += the weights of both rows.
template <int kFirst, int kEnd>
__device__ __forceinline__ void AddWeights(const RowFragments& weights, float (&sum)[4]) {
  constexpr std::uint32_t kOnes = 0x3F803F80;
#pragma unroll
  for (int step = kFirst; step < kEnd; ++step) Mma(sum, weights[step], kOnes, kOnes);
}

struct MergeFactors {
  float earlier;  // a
  float later;    // b
};

// One row's factors; max becomes M'. One of them is exp2(0) = 1 exactly.
__device__ __forceinline__ MergeFactors MergeMax(float& max, float later_max) {
  const float ahead = __fsub_rn(max, later_max);
  const float factor = Exp2(-fabsf(ahead));
  MergeFactors factors;
  factors.earlier = ahead >= 0.0F ? 1.0F : factor;
  factors.later = ahead >= 0.0F ? factor : 1.0F;
  if (later_max == MinusInfinity()) factors.later = -0.0F;
  max = fmaxf(max, later_max);
  return factors;
}

__device__ __forceinline__ float Merged(float earlier, float later, const MergeFactors& factors) {
  return __fmaf_rn(later, factors.later, __fmul_rn(earlier, factors.earlier));
}

__device__ __forceinline__ float Inverse(float sum, float value_scale) {
  return __fmul_rn(__frcp_rn(sum), value_scale);
}

// Two neighbouring columns of the result.
__device__ __forceinline__ std::uint32_t Result(float o0, float o1, float inverse) {
  return PackBf16(__fmul_rn(o0, inverse), __fmul_rn(o1, inverse));
}

}  // namespace thinkwire::worker::kernels
