#pragma once

#include <bit>
#include <cstdint>

#include "worker/kernels/cuda/device/bf16_pieces.cuh"
#include "worker/kernels/e4m3.h"

// A row of bf16 rounded to e4m3 by a block, as quantize_rows.h says.
namespace thinkwire::worker::kernels {

// The greatest magnitude of eight numbers, and of `most`, as the bits of a bf16 in either half: a
// NaN is greater than an infinity, that than all else.
__device__ __forceinline__ std::uint32_t GreatestOf(const uint4& piece, std::uint32_t most) {
  constexpr std::uint32_t kMagnitude = 0x7FFF7FFF;
  most = __vmaxu2(most, piece.x & kMagnitude);
  most = __vmaxu2(most, piece.y & kMagnitude);
  most = __vmaxu2(most, piece.z & kMagnitude);
  return __vmaxu2(most, piece.w & kMagnitude);
}

// Over a block of kWarps, as the bits of a float. Calls __syncthreads once.
template <int kWarps>
__device__ __forceinline__ std::uint32_t GreatestOverBlock(std::uint32_t most,
                                                           std::uint32_t (&shared)[kWarps]) {
  const std::uint32_t warp = __reduce_max_sync(0xFFFFFFFFU, max(most >> 16, most & 0xFFFFU));
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = warp;
  __syncthreads();
  std::uint32_t all = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) all = max(all, shared[w]);
  return all << 16;
}

struct RowScale {
  float scale;
  float inverse;
};

// Of a row whose greatest magnitude has these bits.
__device__ __forceinline__ RowScale RowScaleOf(std::uint32_t greatest) {
  constexpr float kMostE4m3 = 448.0F;
  const float most = std::bit_cast<float>(max(greatest, std::bit_cast<std::uint32_t>(0x1p-100F)));
  return {__fdiv_rn(most, kMostE4m3), __fdiv_rn(kMostE4m3, most)};
}

// As e4m3.h rounds, which is what there is before compute capability 8.9.
__device__ __forceinline__ std::uint32_t TwoCodes(float low, float high) {
#if __CUDA_ARCH__ >= 890
  std::uint16_t codes = 0;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(codes) : "f"(high), "f"(low));
  return codes;
#else
  return E4m3FromFloat<void>(low) | E4m3FromFloat<void>(high) << 8;
#endif
}

// The codes of eight numbers times `inverse`.
__device__ __forceinline__ uint2 CodesOf(const uint4& piece, float inverse) {
  const Eight values = Widen(piece);
  std::uint32_t codes[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    codes[i] =
        TwoCodes(__fmul_rn(values.v[2 * i], inverse), __fmul_rn(values.v[2 * i + 1], inverse));
  }
  return {codes[0] | codes[1] << 16, codes[2] | codes[3] << 16};
}

}  // namespace thinkwire::worker::kernels
