#pragma once

#include <cstdint>

#include "worker/kernels/int4_block.h"

// From four bits to bf16: w = bf16(float(q - z) * s), rounded once, two at a time in bf16 alone.
//
// q - z is a whole number of at most 8 bits and so exact in bf16. A scale has at most 11
// significant bits (int4_block.h): its upper 8 are one bf16, `high`, and what is left, `low`, has
// at most 3. (q - z) * low has at most 8 bits and is exact while |q - z| < 32; so the fused
// (q - z) * high + (q - z) * low rounds the product of q - z and the whole scale, once.
namespace thinkwire::worker::kernels {

#if __CUDA_ARCH__ >= 900

// A row's scale and zero point in a block, each twice.
struct Int4Scale {
  std::uint32_t high;
  std::uint32_t low;
  std::uint32_t zero;  // 128 + z

  Int4Scale() = default;
  __device__ __forceinline__ explicit Int4Scale(std::uint32_t word) {
    const float scale = __uint_as_float(word & kInt4ScaleBits);
    const float upper = __uint_as_float(word & 0xFFFF0000U);
    high = __byte_perm(word, 0U, 0x3232U);
    low = __byte_perm(__float_as_uint(__fsub_rn(scale, upper)), 0U, 0x3232U);
    zero = __byte_perm((word & kInt4ZeroBits) + 0x4300U, 0U, 0x1010U);
  }
};

// The lowest four bits of both halves of `bits`.
__device__ __forceinline__ std::uint32_t Int4Pair(std::uint32_t bits, const Int4Scale& scale) {
  std::uint32_t value;  // 128 + q: 0x4300 is 128, whose last bit is 1
  asm("lop3.b32 %0, %1, 0x000F000F, 0x43004300, 0xEA;" : "=r"(value) : "r"(bits));
  std::uint32_t steps;
  std::uint32_t rest;
  std::uint32_t weight;
  asm("sub.rn.bf16x2 %0, %1, %2;" : "=r"(steps) : "r"(value), "r"(scale.zero));
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(rest) : "r"(steps), "r"(scale.low));
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(weight) : "r"(steps), "r"(scale.high), "r"(rest));
  return weight;
}

// A lane's fragment A of a k16 step from its word; `first` is row g's, `second` that of row g + 8.
__device__ __forceinline__ void Int4Fragment(std::uint32_t word, const Int4Scale& first,
                                             const Int4Scale& second, std::uint32_t (&a)[4]) {
  a[0] = Int4Pair(word, first);
  a[1] = Int4Pair(word >> 4, second);
  a[2] = Int4Pair(word >> 8, first);
  a[3] = Int4Pair(word >> 12, second);
}

#endif

}  // namespace thinkwire::worker::kernels
