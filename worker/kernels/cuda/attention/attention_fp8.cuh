#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/device/tensor_core.cuh"

// attention_tile.cuh's sums over keys and values in FP8: the fragments are made of codes in
// registers, and are those that the same numbers in bf16 would give.
//
// Four codes a lane, as a matrix of bytes in pairs brings them, are two of k (or of two keys) for a
// column of eight and two for the same column of the next eight (kv_block.cuh). A code's bits,
// moved to where bf16 has them, are 2^-120 times the number; the two codes that are no numbers
// become 480, so that what was never written may be read where its weight is 0.
namespace thinkwire::worker::kernels {

// Two bf16 times 2^120, exactly; -0 stays -0.
__device__ __forceinline__ std::uint32_t TimesTwoTo120(std::uint32_t pair) {
  constexpr std::uint32_t kFactors = 0x7B807B80;
  constexpr std::uint32_t kNothing = 0x80008000;
  std::uint32_t product;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(product) : "r"(pair), "r"(kFactors), "r"(kNothing));
  return product;
}

// `even` are the numbers of bytes 0 and 2, `odd` those of 1 and 3.
__device__ __forceinline__ void Bf16FromCodes(std::uint32_t codes, std::uint32_t& even,
                                              std::uint32_t& odd) {
  constexpr std::uint32_t kMagnitude = 0x07F007F0;
  constexpr std::uint32_t kSign = 0x80008000;
  even = TimesTwoTo120((codes << 4 & kMagnitude) | (codes << 8 & kSign));
  odd = TimesTwoTo120((codes >> 4 & kMagnitude) | (codes & kSign));
}

// As with Bf16Kv; `keys` is a tile of 128 x 128 bytes, first_key and kTiles multiples of 32 and 4.
template <int kTiles>
__device__ __forceinline__ void ScoreKeys(Fp8Kv, const RowFragments& q, std::uint32_t keys,
                                          int first_key, float (*s)[4]) {
  const auto lane = threadIdx.x % 32;
  // Matrices: keys 0-7, 8-15, 16-23, 24-31 at one k16 step.
  const std::uint32_t first = keys + (first_key + lane) * Fp8Kv::kRowBytes + lane % 8 * 16;
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) s[i][c] = 0.0F;
  }
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int four = 0; four < kTiles; four += 4) {
      std::uint32_t codes[4];
      LoadMatrices((first ^ (step * 16)) + four * 8 * Fp8Kv::kRowBytes, codes);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        std::uint32_t low;
        std::uint32_t high;
        Bf16FromCodes(codes[i], low, high);
        Mma(s[four + i], q[step], low, high);
      }
    }
  }
}

// As with Bf16Kv, but that keys without a value need no mask.
template <int kTiles, int kFirst, int kEnd, bool kPartial>
__device__ __forceinline__ void AddValues(Fp8Kv, const RowFragments& weights, std::uint32_t values,
                                          int first_piece, int /*num_keys*/, float (*o)[4]) {
  const auto lane = threadIdx.x % 32;
  // Matrices: keys 0-7 and columns 0-15, keys 8-15 and columns 0-15, then the same, columns 16-31.
  const std::uint32_t first =
      values + lane % 16 * Fp8Kv::kRowBytes + ((first_piece / 2 + lane / 16) ^ (lane % 8)) * 16;
#pragma unroll
  for (int step = kFirst; step < kEnd; ++step) {
#pragma unroll
    for (int four = 0; four < kTiles; four += 4) {
      std::uint32_t codes[4];
      LoadTransposed((first ^ (four * 8)) + step * 16 * Fp8Kv::kRowBytes, codes);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        std::uint32_t low[2];
        std::uint32_t high[2];
        Bf16FromCodes(codes[2 * i], low[0], high[0]);
        Bf16FromCodes(codes[2 * i + 1], low[1], high[1]);
        Mma(o[four + 2 * i], weights[step], low[0], low[1]);
        Mma(o[four + 2 * i + 1], weights[step], high[0], high[1]);
      }
    }
  }
}

}  // namespace thinkwire::worker::kernels
