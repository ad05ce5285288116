#pragma once

#include <cstdint>

// From four bits to bf16: w = bf16(float(q - z) * s), rounded once, two at a time in bf16 alone.
// int4_layout.h says where the bits are.
//
// q in the lowest bits of a bf16 whose other bits are zero is a subnormal number, q * 2^-133. So is
// (q - 7.5) * 2^-129 as a sign and four bits further up, of which the lowest is 1. Both are as many
// as a half of a word holds for one operation on its bits each, and the multiply-add that brings
// them to (q - z) / 64 is exact.
//
// The scale times 64 has at most 11 significant bits (int4_block.h): its upper 8 are one bf16,
// `high`, and what is left, `low`, has at most 3. (q - z) * low has at most 8 bits and is exact
// while |q - z| < 32; so the fused (q - z) * high + (q - z) * low rounds the product of q - z and
// the whole scale, once.
namespace thinkwire::worker::kernels {

#if __CUDA_ARCH__ >= 900

// Of pairs of bf16.
__device__ __forceinline__ std::uint32_t FmaPair(std::uint32_t a, std::uint32_t b,
                                                 std::uint32_t c) {
  std::uint32_t sum;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(b), "r"(c));
  return sum;
}
__device__ __forceinline__ std::uint32_t MultiplyPair(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

// A row's scale and zero point in a block, each twice.
struct Int4Scale {
  std::uint32_t high;
  std::uint32_t low;
  std::uint32_t plain_zero;   // -z / 64
  std::uint32_t signed_zero;  // (7.5 - z) / 64

  Int4Scale() = default;
  __device__ __forceinline__ explicit Int4Scale(std::uint32_t word) {
    constexpr std::uint32_t kMinusTwo127 = 0xFF00FF00U;    // -2^127
    constexpr std::uint32_t kSevenAndAHalf = 0x3DF03DF0U;  // 7.5 / 64
    const std::uint32_t lower = __byte_perm(word, 0U, 0x1010U);
    const std::uint32_t zero = lower & 0x001F001FU;  // z * 2^-133
    high = __byte_perm(word, 0U, 0x3232U);
    low = lower & 0xFFE0FFE0U;
    plain_zero = MultiplyPair(zero, kMinusTwo127);
    signed_zero = FmaPair(zero, kMinusTwo127, kSevenAndAHalf);
  }

  // bf16((q - z) * s) of (q - z) / 64.
  __device__ __forceinline__ std::uint32_t Weight(std::uint32_t steps) const {
    return FmaPair(steps, high, MultiplyPair(steps, low));
  }
};

// The pairs that need no rotation: `first`, and `second` eight columns on.
__device__ __forceinline__ void Int4Step(std::uint32_t word, const Int4Scale& scale,
                                         std::uint32_t& first, std::uint32_t& second) {
  constexpr std::uint32_t kTwo127 = 0x7F007F00U;
  constexpr std::uint32_t kTwo123 = 0x7D007D00U;
  std::uint32_t halves;  // 2 m + 1
  asm("lop3.b32 %0, %1, 0x80708070, 0x00080008, 0xEA;" : "=r"(halves) : "r"(word));
  first = scale.Weight(FmaPair(word & 0x000F000FU, kTwo127, scale.plain_zero));
  second = scale.Weight(FmaPair(halves, kTwo123, scale.signed_zero));
}

__device__ __forceinline__ std::uint32_t RotateRight8(std::uint32_t word) {
  return __byte_perm(word, word, 0x0321U);
}

#endif

}  // namespace thinkwire::worker::kernels
