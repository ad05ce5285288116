#pragma once

#include <bit>
#include <cstdint>

// What closes a block of a group's columns: scale and zero point in one word, least byte first. The
// weight is bf16(float(q - z) * s), rounded once. A scale is kept by the upper 19 bits of its f32,
// in which every f16 and bf16 is exact.
//   kInt4G64, kInt4G32  64 or 32 values of 4 bits, the even column's low; 3 bytes: s, z in 5 bits
//   kInt8, kInt8G64, kInt8G32  128, 64 or 32 values of 8 bits; 4 bytes: s, z in 9 bits
//   kFp8                 128 values of e4m3; s as f32 and no z (blocks_fp8.h)
namespace thinkwire::worker::kernels {

inline constexpr int kInt4WordBytes = 3;
inline constexpr int kInt8WordBytes = 4;
inline constexpr int kInt4ZeroWidth = 5;
inline constexpr int kInt8ZeroWidth = 9;
inline constexpr int kDroppedScaleBits = 13;
inline constexpr int kFp8Columns = 128;
inline constexpr int kFp8PackedBytes = kFp8Columns + 4;

// REQUIRES: zero < 2^zero_width; no bit of the scale is dropped.
inline std::uint32_t GroupWord(float scale, std::uint32_t zero, int zero_width) {
  return std::bit_cast<std::uint32_t>(scale) >> kDroppedScaleBits << zero_width | zero;
}

}  // namespace thinkwire::worker::kernels
