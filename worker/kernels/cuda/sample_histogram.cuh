#pragma once

#include <cstdint>

#include "worker/kernels/cuda/cluster.cuh"
#include "worker/kernels/cuda/sample_order.cuh"

// Sums of weights over digits of the order, a histogram a block, and the search for the digit where
// the cluster's sum reaches what was asked.
namespace thinkwire::worker::kernels::sample {

// Of 32 buckets: one warp searches groups, then a group's buckets.
inline constexpr int kGroups = 32;

// What one block adds up of a pass, and its groups' sums. A sum is high * 2^32 + low.
struct Histogram {
  std::uint32_t low[kBuckets];
  std::uint32_t high[kBuckets];
  std::uint32_t count[kBuckets];
  std::uint64_t groups[kGroups];
};

// Where a sum over the order, greatest first, reaches what was asked.
struct Found {
  std::uint32_t digit;
  std::uint32_t count;   // of that digit
  std::uint64_t needed;  // of that digit's sum
};

__device__ inline void Clear(Histogram& histogram) {
  for (int i = static_cast<int>(threadIdx.x); i < kBuckets; i += kThreads) {
    histogram.low[i] = 0;
    histogram.high[i] = 0;
    histogram.count[i] = 0;
  }
}

__device__ inline void AddTo(Histogram& histogram, std::uint32_t digit, std::uint64_t weight,
                             std::uint32_t count) {
  const auto low = static_cast<std::uint32_t>(weight);
  const std::uint32_t carry = atomicAdd(&histogram.low[digit], low) > ~low ? 1 : 0;
  const std::uint32_t high = static_cast<std::uint32_t>(weight >> 32) + carry;
  if (high != 0) atomicAdd(&histogram.high[digit], high);
  atomicAdd(&histogram.count[digit], count);
}

// Adds the weights, at most 2^41, of those lanes of a warp that are `in`. Lanes that all have the
// same digit are added up first: crowded digits would queue at one address.
__device__ inline void AddWarp(Histogram& histogram, bool in, std::uint32_t digit,
                               std::uint64_t weight) {
  const unsigned lanes = __ballot_sync(kAllLanes, in);
  const int leader = __ffs(static_cast<int>(lanes)) - 1;
  const std::uint32_t same = __shfl_sync(kAllLanes, digit, leader);
  if (__any_sync(kAllLanes, in && digit != same)) {
    if (in) AddTo(histogram, digit, weight, 1);
    return;
  }
  if (!in) weight = 0;
  std::uint64_t sum = 0;
  for (int shift = 0; shift < 48; shift += 16) {
    const std::uint32_t piece = static_cast<std::uint32_t>(weight >> shift) & 0xFFFFU;
    sum += std::uint64_t{__reduce_add_sync(kAllLanes, piece)} << shift;
  }
  if (static_cast<int>(threadIdx.x % 32) == leader) AddTo(histogram, same, sum, __popc(lanes));
}

__device__ inline std::uint64_t SumOf(const Histogram& histogram, int bucket) {
  return std::uint64_t{histogram.high[bucket]} << 32 | histogram.low[bucket];
}

__device__ inline void SumGroups(Histogram& histogram) {
  static_assert(kBuckets == 2 * kThreads && kBuckets == 32 * kGroups);
  const int bucket = 2 * static_cast<int>(threadIdx.x);
  std::uint64_t sum = SumOf(histogram, bucket) + SumOf(histogram, bucket + 1);
  for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  if (threadIdx.x % 16 == 0) histogram.groups[threadIdx.x / 16] = sum;
}

// The sum of x over this lane and those before it.
__device__ inline std::uint64_t WarpPrefix(std::uint64_t x) {
  for (int step = 1; step < 32; step *= 2) {
    const std::uint64_t before = __shfl_up_sync(kAllLanes, x, step);
    if (threadIdx.x % 32 >= step) x += before;
  }
  return x;
}

// Called by one warp, for the histograms of all blocks. needed_of gives what the sum must reach,
// between 1 and the sum of all, which it is given.
template <class F>
__device__ Found FindDigit(Histogram& histogram, F needed_of) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  std::uint64_t sum = 0;
#pragma unroll 8
  for (unsigned rank = 0; rank < ClusterSize(); ++rank) {
    sum += InBlock(&histogram, rank)->groups[lane];
  }
  std::uint64_t prefix = WarpPrefix(sum);
  std::uint64_t needed = needed_of(__shfl_sync(kAllLanes, prefix, 31));
  const int group = __ffs(static_cast<int>(__ballot_sync(kAllLanes, prefix >= needed))) - 1;
  needed -= __shfl_sync(kAllLanes, prefix - sum, group);

  const int bucket = 32 * group + lane;
  std::uint32_t count = 0;
  sum = 0;
#pragma unroll 8
  for (unsigned rank = 0; rank < ClusterSize(); ++rank) {
    const Histogram& other = *InBlock(&histogram, rank);
    sum += SumOf(other, bucket);
    count += other.count[bucket];
  }
  prefix = WarpPrefix(sum);
  const int found = __ffs(static_cast<int>(__ballot_sync(kAllLanes, prefix >= needed))) - 1;
  needed -= __shfl_sync(kAllLanes, prefix - sum, found);
  return {static_cast<std::uint32_t>(32 * group + found), __shfl_sync(kAllLanes, count, found),
          needed};
}

}  // namespace thinkwire::worker::kernels::sample
