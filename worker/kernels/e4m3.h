#pragma once

#include <bit>
#include <cstdint>

#include "worker/kernels/host_device.h"

// Numbers of eight bits, FP8 in the form e4m3: sign, four bits of exponent with bias 7, three of
// fraction, no infinity. The greatest is 448.
namespace thinkwire::worker::kernels {

// The nearest, ties to even. What is greater than 448 becomes 448, a NaN too: there is no code for
// a NaN among those given (0x7F, 0xFF). `Isa` as in block_codes.h.
template <class Isa>
HOST_DEVICE std::uint8_t E4m3FromFloat(float x) {
  constexpr std::uint32_t kMost = std::bit_cast<std::uint32_t>(448.0F);
  constexpr std::uint32_t kLeastNormal = std::bit_cast<std::uint32_t>(0x1p-6F);
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 24 & 0x80U;
  std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > kMost) magnitude = kMost;
  if (magnitude < kLeastNormal) {  // multiples of 2^-9, which are the last bits beside 2^14
    const float beside = std::bit_cast<float>(magnitude) + 0x1p14F;
    constexpr std::uint32_t kNone = std::bit_cast<std::uint32_t>(0x1p14F);
    return static_cast<std::uint8_t>(sign | (std::bit_cast<std::uint32_t>(beside) - kNone));
  }
  const std::uint32_t rounded = magnitude + 0x7FFFFU + (magnitude >> 20 & 1U);
  return static_cast<std::uint8_t>(sign | ((rounded >> 20) - (120U << 3)));
}

// Shifted to where f32 has them, the bits are 2^-120 times the number, subnormal or not. Of the two
// codes that are no numbers, 480 with their sign.
template <class Isa>
HOST_DEVICE float FloatFromE4m3(std::uint8_t code) {
  const auto magnitude = std::bit_cast<float>((code & 0x7FU) << 20) * 0x1p120F;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | (code & 0x80U) << 24);
}

}  // namespace thinkwire::worker::kernels
