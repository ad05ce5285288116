#pragma once

#include <bit>
#include <cstdint>

#include "worker/kernels/noise.h"

// What Draw and Logprobs share: a row's weights and the order of its ids (cpu/draw.cc has the
// formulas).
namespace thinkwire::worker::kernels {

inline constexpr float kWeightUnit = 0x1p40F;

inline std::int64_t WeightOf(float e) { return static_cast<std::int64_t>(e * kWeightUnit); }

// log(sum of e), e = exp(x - max x) of a row.
inline float LogSum(const float* e, std::int64_t n) {
  std::int64_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += WeightOf(e[i]);
  return Log(static_cast<float>(sum) / kWeightUnit);
}

// Ascends with a place in the order: greater t, then lower id. REQUIRES: t is not -0, as +0 would
// be greater.
inline std::uint64_t KeyOf(float t, std::uint32_t id) {
  const auto bits = std::bit_cast<std::uint32_t>(t);
  const std::uint32_t ordered = bits & 0x80000000U ? ~bits : bits | 0x80000000U;
  return std::uint64_t{ordered} << 32 | ~id;
}
inline std::uint32_t IdOf(std::uint64_t key) { return ~static_cast<std::uint32_t>(key); }

inline bool AllFinite(const float* x, std::int64_t n) {
  std::uint32_t bad = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    bad |= (std::bit_cast<std::uint32_t>(x[i]) & 0x7F800000U) == 0x7F800000U ? 1U : 0U;
  }
  return bad == 0;
}

inline std::int64_t FirstGreatest(const float* x, std::int64_t n) {
  float max = x[0];
  for (std::int64_t i = 1; i < n; ++i) max = x[i] > max ? x[i] : max;
  std::int64_t id = 0;
  while (x[id] != max) ++id;
  return id;
}

}  // namespace thinkwire::worker::kernels
