#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "worker/kernels/host_device.h"

// The sampler's noise, in integers and single fused f32 operations so that any device computes the
// same bits: no product is added but within a written fused multiply-add, so that a compiler that
// contracts changes nothing. It never changes: a change would change every seed's text.
namespace thinkwire::worker::kernels {

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
HOST_DEVICE inline std::array<std::uint32_t, 4> Philox4x32(std::array<std::uint32_t, 4> counter,
                                                           std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53U} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57U} * counter[2];
    counter = {
        static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
        static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

// log(1 + f) + e * ln 2 for 1 + f in [sqrt(1/2), sqrt(2)). Polynomial of Cephes' logf.
HOST_DEVICE inline float LogParts(float f, float e) {
  const float z = f * f;
  float p = 7.0376836292e-2F;
  p = __builtin_fmaf(p, f, -1.1514610310e-1F);
  p = __builtin_fmaf(p, f, 1.1676998740e-1F);
  p = __builtin_fmaf(p, f, -1.2420140846e-1F);
  p = __builtin_fmaf(p, f, 1.4249322787e-1F);
  p = __builtin_fmaf(p, f, -1.6668057665e-1F);
  p = __builtin_fmaf(p, f, 2.0000714765e-1F);
  p = __builtin_fmaf(p, f, -2.4999993993e-1F);
  p = __builtin_fmaf(p, f, 3.3333331174e-1F);
  float y = p * f * z;
  y = __builtin_fmaf(e, -2.12194440e-4F, y);
  y = __builtin_fmaf(z, -0.5F, y);
  return __builtin_fmaf(e, 0.693359375F, f + y);
}

// log(x) for a positive normal x.
HOST_DEVICE inline float Log(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  // Exponent of x / sqrt(1/2), so that the rest lies in [sqrt(1/2), sqrt(2)).
  const std::int32_t e = static_cast<std::int32_t>(bits - 0x3F3504F3U) >> 23;
  const float rest = std::bit_cast<float>(bits - (static_cast<std::uint32_t>(e) << 23));
  return LogParts(rest - 1.0F, static_cast<float>(e));
}

// Standard Gumbel noise -log(-log(u)) of u = (word + 1/2) / 2^32. Above 1/2 it is computed from
// 1 - u, so that the upper tail keeps all bits of the word. Within (-3.2, 22.9).
HOST_DEVICE inline float GumbelOf(std::uint32_t word) {
  const bool upper = word >= 0x80000000U;
  // min(u, 1 - u); an integer becomes f32 by rounding to nearest, ties to even.
  const float c = __builtin_fmaf(static_cast<float>(upper ? ~word : word), 0x1p-32F, 0x1p-33F);
  float log_u;
  if (!upper) {
    log_u = Log(c);
  } else if (c < 0.29289F) {
    log_u = LogParts(-c, 0.0F);
  } else {
    log_u = Log(1.0F - c);
  }
  return -Log(-log_u);
}
inline constexpr float kMaxGumbel = 23.0F;

}  // namespace thinkwire::worker::kernels
