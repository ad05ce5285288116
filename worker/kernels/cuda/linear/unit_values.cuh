#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "worker/kernels/cuda/linear/unit_layout.h"

// From a unit's block (unit_layout.h) to bf16: w = bf16(float(q) * scale + offset), where the float
// is rounded as block_codes.h says and then once more. Names as there.
//
// q in the lowest bits of an f16 whose other bits are zero is a subnormal number, q * 2^-24, and
// four bits further up 2^-20 q: up to 1,023 of these steps. A conversion to f32 and a multiply-add
// with the scale times 2^24 or 2^20 follow, which round as q * scale + offset does: powers of two
// and products of up to 24 bits are exact. A byte in the low bits of the f16 of 1,024 is 1,024 + q;
// (1,024 + q) d - (1,024 + 128) d is exact in one multiply-add. e4m3 is exact in an f16, and the
// product with its scale, to which -0 is added, is rounded as block_codes.h has it.
namespace thinkwire::worker::kernels {

#if __CUDA_ARCH__ >= 900

__device__ __forceinline__ __half2 AsHalves(std::uint32_t bits) {
  return *reinterpret_cast<const __half2*>(&bits);
}
__device__ __forceinline__ float LowHalf(std::uint32_t bits) { return __low2float(AsHalves(bits)); }
__device__ __forceinline__ float HighHalf(std::uint32_t bits) {
  return __high2float(AsHalves(bits));
}

// 1,024 + byte 0 and 1,024 + byte 1 of a word as f16, or of bytes 2 and 3.
__device__ __forceinline__ std::uint32_t LowBytes(std::uint32_t word) {
  return __byte_perm(word, 0x64646464U, 0x4140U);
}
__device__ __forceinline__ std::uint32_t HighBytes(std::uint32_t word) {
  return __byte_perm(word, 0x64646464U, 0x4342U);
}

// What a group's codes are multiplied by, in their lower place and in their upper one, and what is
// added.
struct GroupScale {
  float low;
  float high;
  float offset;
};

__device__ __forceinline__ std::uint32_t WeightPair(std::uint32_t codes, float scale,
                                                    float offset) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(__fmaf_rn(LowHalf(codes), scale, offset),
                                                    __fmaf_rn(HighHalf(codes), scale, offset));
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// Codes of a k16 step's pairs: the first in its lower place, the second in its upper one.
struct StepCodes {
  std::uint32_t first;
  std::uint32_t second;
};

__device__ __forceinline__ std::uint32_t SwapBytes(std::uint32_t word) {
  return __byte_perm(word, word, 0x2301U);
}

// A lane's codes of a unit's block. Read: reads as unit_product_kernel.cuh and unit_expand.cu have
// it. Of(half, j) are those of k16 step 4 half + j.
template <UnitFormat kFormat>
struct UnitCodes {
  static constexpr bool kHasFifth = kFormat == UnitFormat::kQ5K;
  static constexpr bool kHasUpper = kFormat == UnitFormat::kQ6K;
  uint4 nibbles;
  uint2 upper;

  template <class Read>
  __device__ __forceinline__ void Load(const Read& read) {
    constexpr int kUpper = PlacesOf(kFormat).upper;
    nibbles = read.Lane16(0);
    if constexpr (kHasFifth) upper.x = read.Lane4(kUpper);
    if constexpr (kHasUpper) upper = read.Lane8(kUpper);
  }

  __device__ __forceinline__ StepCodes Of(int half, int j) const {
    const std::uint32_t two[2] = {half == 0 ? nibbles.x : nibbles.z,
                                  half == 0 ? nibbles.y : nibbles.w};
    const std::uint32_t word = j % 2 == 0 ? two[j / 2] : two[j / 2] >> 8;
    StepCodes codes = {word & 0x000F000FU, word & 0x00F000F0U};
    if constexpr (kHasFifth || kHasUpper) AddUpper(half, j, codes);
    return codes;
  }

 private:
  __device__ __forceinline__ void AddUpper(int half, int j, StepCodes& codes) const {
    constexpr std::uint32_t kOne = kHasFifth ? 0x00100010U : 0x00300030U;
    const std::uint32_t bits = kHasFifth ? upper.x : half == 0 ? upper.x : upper.y;
    const std::uint32_t word = kHasFifth ? bits >> (2 * half + j / 2) : bits >> (2 * (j / 2));
    const std::uint32_t placed = j % 2 == 0 ? word : SwapBytes(word);
    codes.first |= placed & kOne;
    codes.second |= placed & kOne << 4;
  }
};

template <>
struct UnitCodes<UnitFormat::kQ8_0> {
  uint4 bytes[2];

  template <class Read>
  __device__ __forceinline__ void Load(const Read& read) {
    bytes[0] = read.Lane16(0);
    bytes[1] = read.Lane16(512);
  }
  __device__ __forceinline__ StepCodes Of(int half, int j) const {
    const uint4& four = bytes[half];
    const std::uint32_t word = j == 0 ? four.x : j == 1 ? four.y : j == 2 ? four.z : four.w;
    return {LowBytes(word), HighBytes(word)};
  }
};

template <>
struct UnitCodes<UnitFormat::kFp8> {
  uint4 bytes[2];

  template <class Read>
  __device__ __forceinline__ void Load(const Read& read) {
    bytes[0] = read.Lane16(0);
    bytes[1] = read.Lane16(512);
  }
  __device__ __forceinline__ StepCodes Of(int half, int j) const {
    const uint4& four = bytes[half];
    const std::uint32_t word = j == 0 ? four.x : j == 1 ? four.y : j == 2 ? four.z : four.w;
    return {HalvesFromE4m3(word), HalvesFromE4m3(word >> 16)};
  }

 private:
  // Of the lower two bytes.
  static __device__ __forceinline__ std::uint32_t HalvesFromE4m3(std::uint32_t word) {
    const __half2_raw pair =
        __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(word & 0xFFFFU), __NV_E4M3);
    return pair.x | static_cast<std::uint32_t>(pair.y) << 16;
  }
};

// A row's scales of a unit's block, of Q4_K and Q5_K. Of(step) is that of the group of k16 step
// `step`; even and odd steps share groups of 32.
template <UnitFormat kFormat>
struct UnitScales {
  uint2 groups;
  float low;
  float high;
  float min;

  template <class Read>
  __device__ __forceinline__ void Load(const Read& read) {
    constexpr UnitPlaces kPlaces = PlacesOf(kFormat);
    groups = read.Row8(kPlaces.groups);
    const std::uint32_t row = read.Row4(kPlaces.rows);
    low = LowHalf(row) * 0x1p48F;
    high = LowHalf(row) * 0x1p44F;
    min = HighHalf(row) * -0x1p24F;
  }
  __device__ __forceinline__ GroupScale Of(int step) const {
    const std::uint32_t word = step < 4 ? groups.x : groups.y;
    const std::uint32_t pair = (step / 2 % 2 == 0 ? word : word >> 8) & 0x00FF00FFU;
    const float scale = LowHalf(pair);
    return {scale * low, scale * high, HighHalf(pair) * min};
  }
};

template <>
struct UnitScales<UnitFormat::kQ6K> {
  uint2 groups;
  float d;

  template <class Read>
  __device__ __forceinline__ void Load(const Read& read) {
    constexpr UnitPlaces kPlaces = PlacesOf(UnitFormat::kQ6K);
    groups = read.Row8(kPlaces.groups);
    d = LowHalf(read.Row2(kPlaces.rows));
  }
  __device__ __forceinline__ GroupScale Of(int step) const {
    const std::uint32_t word = step < 4 ? groups.x : groups.y;
    const std::uint32_t two = step % 4 < 2 ? LowBytes(word) : HighBytes(word);
    constexpr std::uint32_t kZeros = 0x64806480U;  // 1,024 + 128, twice
    const __half2 scales = __hsub2(AsHalves(two), AsHalves(kZeros));
    const float scale = (step % 2 == 0 ? __low2float(scales) : __high2float(scales)) * d;
    return {scale * 0x1p24F, scale * 0x1p20F, scale * -32.0F};
  }
};

template <>
struct UnitScales<UnitFormat::kQ8_0> {
  uint2 groups;

  template <class Read>
  __device__ __forceinline__ void Load(const Read& read) {
    groups = read.Row8(PlacesOf(UnitFormat::kQ8_0).groups);
  }
  __device__ __forceinline__ GroupScale Of(int step) const {
    const std::uint32_t word = step < 4 ? groups.x : groups.y;
    const float scale = step / 2 % 2 == 0 ? LowHalf(word) : HighHalf(word);
    return {scale, scale, scale * -1152.0F};
  }
};

template <>
struct UnitScales<UnitFormat::kFp8> {
  float scale;

  template <class Read>
  __device__ __forceinline__ void Load(const Read& read) {
    scale = __uint_as_float(read.Row4(PlacesOf(UnitFormat::kFp8).rows));
  }
  __device__ __forceinline__ GroupScale Of(int /*step*/) const { return {scale, scale, -0.0F}; }
};

// A lane's part of a unit's block.
template <UnitFormat kFormat>
struct UnitLane {
  UnitCodes<kFormat> codes;
  UnitScales<kFormat> scales;

  template <class Read>
  __device__ __forceinline__ void Load(const Read& read) {
    codes.Load(read);
    scales.Load(read);
  }

  // take(j, first, second): the weights of step 4 half + j, in order.
  template <class Take>
  __device__ __forceinline__ void Make(int half, const Take& take) const {
    GroupScale scale;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (kFormat == UnitFormat::kQ6K || j % 2 == 0) scale = scales.Of(4 * half + j);
      const StepCodes step = codes.Of(half, j);
      take(j, WeightPair(step.first, scale.low, scale.offset),
           WeightPair(step.second, scale.high, scale.offset));
    }
  }
};

#endif

}  // namespace thinkwire::worker::kernels
