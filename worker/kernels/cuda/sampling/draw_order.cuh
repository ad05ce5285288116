#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "worker/kernels/exp.h"
#include "worker/kernels/scalar_lane.h"

// The order in which Draw takes a row's ids, as integers, and intervals of it.
namespace thinkwire::worker::kernels::draw {

inline constexpr int kThreads = 512;  // of a block
inline constexpr unsigned kMaxCluster = 16;
inline constexpr unsigned kAllLanes = ~0U;
inline constexpr int kDigitBits = 10;
inline constexpr int kBuckets = 1 << kDigitBits;
inline constexpr int kIdBits = 20;
inline constexpr std::uint32_t kIdMask = (1U << kIdBits) - 1;
inline constexpr int kKeyBits = 32 + kIdBits;
// exp(-t) * 2^40 is below 1 from here on; a border of buckets, as all their widths divide 1.
inline constexpr float kNoWeight = 28.0F;

// How a row draws; the same in all threads of its blocks.
struct Row {
  float temperature;
  float top_p;
  float min_p;
  std::int32_t top_k;
  std::array<std::uint32_t, 2> seed;
  std::uint32_t output_index;
  std::uint32_t position;
  float max;    // of t
  float scale;  // buckets of the first digit per unit of distance from max: a power of two >= 32

  // Else its id is the greatest's.
  __device__ bool draws() const { return temperature != 0.0F && isfinite(max); }
};

__device__ inline float ExpOf(float x) { return Exp(ScalarLane{x}).x; }
__device__ inline std::uint64_t WeightOf(float e) { return __float2ull_rz(e * 0x1p40F); }

// Ascends with x. REQUIRES: x is not -0, as +0 would be greater.
__device__ inline std::uint32_t Ordered(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}
__device__ inline float FromOrdered(std::uint32_t ordered) {
  return __uint_as_float(ordered & 0x80000000U ? ordered & 0x7FFFFFFFU : ~ordered);
}

// Ascends with a place in the order: greater x, then lower id. In kKeyBits.
__device__ inline std::uint64_t KeyOf(float x, std::uint32_t id) {
  return std::uint64_t{Ordered(x)} << kIdBits | (kIdMask - id);
}
__device__ inline std::uint32_t IdOf(std::uint64_t key) {
  return kIdMask - (static_cast<std::uint32_t>(key) & kIdMask);
}

// Distance from the maximum in buckets: ascends while t descends.
__device__ inline std::uint32_t BucketOf(const Row& row, float t) {
  return static_cast<std::uint32_t>(fminf((row.max - t) * row.scale, kBuckets - 1.0F));
}
// The bucket before the key, so that the first digit spreads what t's exponent would not. The same
// order as the key's.
__device__ inline std::uint64_t PlaceOf(const Row& row, float t, std::uint32_t id) {
  return std::uint64_t{kBuckets - 1 - BucketOf(row, t)} << kKeyBits | KeyOf(t, id);
}

// Rounded to nearest, and +0 for -0.
__device__ inline float TempLogit(float x, float temperature) {
  return __fadd_rn(__fdiv_rn(x, temperature), 0.0F);
}

// The greatest power of two, from 32 to 2^20, that keeps `distance` within the buckets if one does.
__device__ inline float BucketScale(float distance) {
  const int exponent = static_cast<int>(__float_as_uint(distance) >> 23) - 127;
  const int scale = kDigitBits - 1 - min(4, max(-11, exponent));
  return __uint_as_float(static_cast<std::uint32_t>(127 + scale) << 23);
}

// Places of [low, high], cut into at most kBuckets digits of 2^shift places, the highest first.
struct Range {
  std::uint64_t low = 0;
  std::uint64_t high = (std::uint64_t{1} << (kKeyBits + kDigitBits)) - 1;
  int shift = kKeyBits;
  // Members have t within.
  float least = -INFINITY;
  float most = INFINITY;

  __device__ bool Holds(std::uint64_t place) const { return low <= place && place <= high; }
  __device__ std::uint32_t DigitOf(std::uint64_t place) const {
    return static_cast<std::uint32_t>((high - place) >> shift);
  }
  __device__ void Narrow(std::uint32_t digit) {
    high -= std::uint64_t{digit} << shift;
    low = max(low, high - ((std::uint64_t{1} << shift) - 1));
  }
  // From a whole bucket to the places that its members may have. With d the rounded max - t:
  // d < end implies that max - t < end, and d >= begin that max - t > the float before begin.
  __device__ void Tighten(const Row& row, std::uint32_t bucket) {
    const float begin = static_cast<float>(bucket) / row.scale;
    const float end = static_cast<float>(bucket + 1) / row.scale;
    const std::uint64_t prefix = high >> kKeyBits << kKeyBits;
    float greatest = row.max;
    if (bucket > 0) greatest = __fadd_ru(row.max, -__uint_as_float(__float_as_uint(begin) - 1));
    const float smallest = bucket < kBuckets - 1 ? __fadd_rd(row.max, -end) : -INFINITY;
    high = min(high, prefix | KeyOf(greatest, 0));
    low = max(low, prefix | KeyOf(smallest, kIdMask));
  }
  // The next round's digits. REQUIRES: the range lies within one bucket.
  __device__ void Divide() {
    shift = max(0, 64 - kDigitBits - __clzll(high - low));
    least = FromOrdered(static_cast<std::uint32_t>(low >> kIdBits));
    most = FromOrdered(static_cast<std::uint32_t>(high >> kIdBits));
  }
};

// What a search keeps: the ids of places from `place` up. Comparing t settles nearly all.
struct Cut {
  std::uint64_t place = 0;
  float none_below = -INFINITY;  // t
  float all_above = -INFINITY;   // t

  __device__ bool Keeps(const Row& row, float t, std::uint32_t id) const {
    if (t > all_above) return true;
    return t >= none_below && PlaceOf(row, t, id) >= place;
  }
};

}  // namespace thinkwire::worker::kernels::draw
