#pragma once

#include <cstdint>

#include "worker/kernels/cuda/device/cluster.cuh"
#include "worker/kernels/cuda/sampling/draw_order.cuh"

// Sums of weights over digits of the order, a histogram a block, and the search for the digit where
// the cluster's sum reaches what was asked.
namespace thinkwire::worker::kernels::draw {

// Of 32 buckets: one warp searches groups, then a group's buckets.
inline constexpr int kGroups = 32;

// What one block adds up of a pass. A sum is high * 2^32 + low.
struct Histogram {
  std::uint32_t low[kBuckets];
  std::uint32_t high[kBuckets];
  std::uint32_t count[kBuckets];
};

// What the blocks of a cluster tell each other of their histograms.
struct HistogramExchange {
  // Taken in turn, as a block may send the next ones while another still reads the last.
  std::uint64_t groups[2][kMaxCluster][kGroups];
  // Of one group. Counts are at most kMostCount.
  std::uint64_t sums[kMaxCluster][32];
  std::uint16_t counts[kMaxCluster][32];
};
inline constexpr std::uint32_t kMostCount = 0xFFFF;

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

// Adds the weights, at most 2^41, of those of a warp's values, four a lane, that are `in`. Where
// all have the same digit they are added up first: crowded digits would queue at one address. All
// lanes of the warp call it, and one at least has a value that is in.
__device__ inline void AddWarp(Histogram& histogram, const bool (&in)[4],
                               const std::uint32_t (&digits)[4],
                               const std::uint64_t (&weights)[4]) {
  const unsigned lanes = __ballot_sync(kAllLanes, in[0] || in[1] || in[2] || in[3]);
  const int leader = __ffs(static_cast<int>(lanes)) - 1;
  std::uint32_t same = in[0] ? digits[0] : in[1] ? digits[1] : in[2] ? digits[2] : digits[3];
  same = __shfl_sync(kAllLanes, same, leader);
  bool differ = false;
#pragma unroll
  for (int k = 0; k < 4; ++k) differ = differ || (in[k] && digits[k] != same);
  if (__any_sync(kAllLanes, differ)) {
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      if (in[k]) AddTo(histogram, digits[k], weights[k], 1);
    }
    return;
  }
  std::uint64_t weight = 0;
  std::uint32_t count = 0;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    weight += in[k] ? weights[k] : 0;
    count += in[k] ? 1 : 0;
  }
  count = __reduce_add_sync(kAllLanes, count);
  std::uint64_t sum = 0;
  for (int shift = 0; shift < 48; shift += 16) {
    const std::uint32_t piece = static_cast<std::uint32_t>(weight >> shift) & 0xFFFFU;
    sum += std::uint64_t{__reduce_add_sync(kAllLanes, piece)} << shift;
  }
  if (static_cast<int>(threadIdx.x % 32) == leader) AddTo(histogram, same, sum, count);
}

__device__ inline std::uint64_t SumOf(const Histogram& histogram, int bucket) {
  return std::uint64_t{histogram.high[bucket]} << 32 | histogram.low[bucket];
}

// Tells all blocks of the cluster this one's groups' sums.
__device__ inline void SendGroups(const Histogram& histogram, HistogramExchange& exchange,
                                  int turn) {
  static_assert(kBuckets == 2 * kThreads && kBuckets == 32 * kGroups && kMaxCluster == 16);
  const int bucket = 2 * static_cast<int>(threadIdx.x);
  std::uint64_t sum = SumOf(histogram, bucket) + SumOf(histogram, bucket + 1);
  for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  // Each of the 16 threads that have a group's sum tells one block.
  const unsigned to = threadIdx.x % 16;
  if (to < ClusterSize()) {
    *InBlock(&exchange.groups[turn % 2][ClusterRank()][threadIdx.x / 16], to) = sum;
  }
}

// The sum of x over this lane and those before it.
__device__ inline std::uint64_t WarpPrefix(std::uint64_t x) {
  for (int step = 1; step < 32; step *= 2) {
    const std::uint64_t before = __shfl_up_sync(kAllLanes, x, step);
    if (threadIdx.x % 32 >= step) x += before;
  }
  return x;
}

// The place where a sum over 32 values, one a lane, reaches `needed`, which becomes what is needed
// of that value.
__device__ inline int FindLane(std::uint64_t value, std::uint64_t prefix, std::uint64_t& needed) {
  const int found = __ffs(static_cast<int>(__ballot_sync(kAllLanes, prefix >= needed))) - 1;
  needed -= __shfl_sync(kAllLanes, prefix - value, found);
  return found;
}

// Called by all threads once all blocks' groups were sent. needed_of gives what the sum must reach,
// between 1 and the sum of all, which it is given. Thread 0 alone gets the result.
template <class F>
__device__ Found FindDigit(const Histogram& histogram, HistogramExchange& exchange, int turn,
                           F needed_of) {
  const unsigned warp = threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x % 32);
  Found found = {};
  // Each of these warps finds the group and fetches its buckets from one block.
  if (warp < ClusterSize()) {
    std::uint64_t sum = 0;
#pragma unroll 8
    for (unsigned rank = 0; rank < ClusterSize(); ++rank) {
      sum += exchange.groups[turn % 2][rank][lane];
    }
    const std::uint64_t prefix = WarpPrefix(sum);
    found.needed = needed_of(__shfl_sync(kAllLanes, prefix, 31));
    const int group = FindLane(sum, prefix, found.needed);
    found.digit = static_cast<std::uint32_t>(32 * group);
    const Histogram& other = *InBlock(&histogram, warp);
    exchange.sums[warp][lane] = SumOf(other, 32 * group + lane);
    exchange.counts[warp][lane] =
        static_cast<std::uint16_t>(min(other.count[32 * group + lane], kMostCount));
  }
  __syncthreads();
  if (warp > 0) return found;
  std::uint64_t sum = 0;
#pragma unroll 8
  for (unsigned rank = 0; rank < ClusterSize(); ++rank) {
    sum += exchange.sums[rank][lane];
    found.count += exchange.counts[rank][lane];
  }
  const int bucket = FindLane(sum, WarpPrefix(sum), found.needed);
  found.digit += static_cast<std::uint32_t>(bucket);
  found.count = __shfl_sync(kAllLanes, found.count, bucket);
  return found;
}

}  // namespace thinkwire::worker::kernels::draw
