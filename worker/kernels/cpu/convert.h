#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "worker/kernels/backend.h"

namespace thinkwire::worker::kernels {

// To the nearest, ties to even; NaN stays NaN.
inline std::uint16_t Bf16FromF32(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

inline float F32FromBf16(std::uint16_t x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x) << 16);
}

inline float F32FromF16(std::uint16_t x) {
  const std::uint32_t sign = (x & 0x8000U) << 16;
  const std::uint32_t exponent = x >> 10 & 0x1FU;
  const std::uint32_t fraction = x & 0x3FFU;
  if (exponent == 0) {  // zero and subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide = exponent == 31 ? 255U : exponent + 112U;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

// Element [row, col] of a slice at any alignment. An f16 or f32 weight loses bits on the way to
// bf16; a bf16 one does not.
inline float SliceElement(const WeightSlice& slice, std::int64_t row, std::int64_t col) {
  const char* at = static_cast<const char*>(slice.data) +
                   (row * slice.row_stride + col) * static_cast<std::int64_t>(SizeOf(slice.dtype));
  if (slice.dtype == DType::kF32) {
    float x;
    std::memcpy(&x, at, sizeof(x));
    return x;
  }
  std::uint16_t x;
  std::memcpy(&x, at, sizeof(x));
  return slice.dtype == DType::kF16 ? F32FromF16(x) : F32FromBf16(x);
}

// out[c] = bf16 of slice[row, c].
inline void ConvertRow(const WeightSlice& slice, std::int64_t row, std::uint16_t* out) {
  if (slice.dtype == DType::kBf16) {
    const char* at = static_cast<const char*>(slice.data) + row * slice.row_stride * 2;
    std::memcpy(out, at, static_cast<std::size_t>(slice.cols) * 2);
    return;
  }
  for (std::int64_t c = 0; c < slice.cols; ++c) out[c] = Bf16FromF32(SliceElement(slice, row, c));
}

}  // namespace thinkwire::worker::kernels
