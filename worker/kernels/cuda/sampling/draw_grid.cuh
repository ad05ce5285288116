#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/sampling/draw_histogram.cuh"
#include "worker/kernels/cuda/sampling/draw_order.cuh"
#include "worker/kernels/cuda/sampling/draw_search.cuh"
#include "worker/step/sampling.h"

// Blocks all over the device that have a row together, where rows are so few that clusters would
// leave most multiprocessors idle. They meet in device memory: each leaves what it found there,
// marked, and reads what all left; a histogram's sums they add up there as integers, so that no
// order of blocks changes a bit.
namespace thinkwire::worker::kernels::draw {

inline constexpr std::int32_t kMostGridRows = 4;
inline constexpr int kMostGridBlocks = kThreads;  // of a row: a thread reads what a block left
// Searches for top_k and for top_p, of seven rounds at most each.
inline constexpr int kMostTurns = 14;

// A row's meeting place in device memory: all zero between launches, which its first block sees to
// at the end.
struct GridRow {
  struct Sums {
    std::uint64_t sums[kBuckets];
    std::uint32_t counts[kBuckets];
  };

  Pair extremes[kMostGridBlocks];
  Pair results[kMostGridBlocks];
  std::uint32_t arrived;  // blocks, at all histograms so far
  alignas(16) Sums turns[kMostTurns];
};

// A block's shared memory.
struct GridMemory {
  Histogram histogram;
  WarpPairs warps;
  Found found;
  Pair all;
  step::SamplingParams sampling;  // the row's slot's
};

// Words that were left have a mark, so that a reader needs no other sign.
inline constexpr std::uint64_t kLeft = std::uint64_t{1} << 63;
static_assert(kNotFinite < kLeft, "no key has the mark's bit");

__device__ inline void Leave(Pair& at, const Pair& pair) {
  asm volatile("st.relaxed.gpu.global.v2.u64 [%0], {%1, %2};" ::"l"(&at), "l"(pair.first | kLeft),
               "l"(pair.second | kLeft)
               : "memory");
}
// Waits until both are there.
__device__ inline Pair Take(const Pair& at) {
  Pair pair;
  do {
    asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
                 : "=l"(pair.first), "=l"(pair.second)
                 : "l"(&at)
                 : "memory");
  } while ((pair.first & pair.second & kLeft) == 0);
  return {pair.first & ~kLeft, pair.second & ~kLeft};
}

// What the block's threads wrote before a __syncthreads ahead of the call is there for whoever
// reads the new count.
__device__ inline void Arrive(std::uint32_t& arrived) {
  asm volatile("red.add.release.gpu.global.u32 [%0], 1;" ::"l"(&arrived) : "memory");
}
__device__ inline std::uint32_t Arrived(const std::uint32_t& arrived) {
  std::uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(&arrived) : "memory");
  return value;
}

// ClusterBlocks' functions. REQUIRES: all the row's blocks run at the same time: no more of all
// rows than multiprocessors, of which each has room for one once the kernels before have ended.
class GridBlocks {
 public:
  // The `rank`-th of `size` blocks. REQUIRES: the block's histogram is cleared.
  __device__ GridBlocks(GridMemory& shared, GridRow& row, unsigned rank, unsigned size)
      : shared_(shared), row_(row), rank_(rank), size_(size) {}

  __device__ unsigned rank() const { return rank_; }
  __device__ Histogram& histogram() const { return shared_.histogram; }

  __device__ Pair Extremes(const Pair& mine) {
    const Pair block = ReduceInBlock<false>(shared_.warps, mine);
    if (threadIdx.x == 0) Leave(row_.extremes[rank_], block);
    Pair all = TakeAll<false>(row_.extremes);
    if (threadIdx.x == 0) shared_.all = all;
    __syncthreads();
    return shared_.all;
  }

  template <class F>
  __device__ Found FindDigit(F needed_of) {
    GridRow::Sums& sums = row_.turns[turn_++];
    __syncthreads();
    Move(sums);
    Meet();
    FindIn(sums, needed_of);
    __syncthreads();
    return shared_.found;
  }

  __device__ bool Finish(Pair& mine) {
    mine = ReduceInBlock<true>(shared_.warps, mine);
    if (threadIdx.x == 0) Leave(row_.results[rank_], mine);
    if (rank_ > 0) return false;
    mine = TakeAll<true>(row_.results);
    Clear();
    return threadIdx.x == 0;
  }

 private:
  // What all blocks left, for the first warp. The block meets before and in here.
  template <bool kSumSecond>
  __device__ Pair TakeAll(const Pair (&left)[kMostGridBlocks]) const {
    Pair pair = {0, 0};
    if (threadIdx.x < size_) pair = Take(left[threadIdx.x]);
    __syncthreads();  // the first warp has read what is written next
    return ReduceInBlock<kSumSecond>(shared_.warps, pair);
  }

  // Once all blocks have left their results, which is the last that they do.
  __device__ void Clear() const {
    const auto thread = static_cast<int>(threadIdx.x);
    row_.extremes[thread] = {0, 0};
    row_.results[thread] = {0, 0};
    if (thread == 0) row_.arrived = 0;
    constexpr int kPieces = sizeof(GridRow::Sums) / sizeof(uint4);
    auto* const pieces = reinterpret_cast<uint4*>(row_.turns);
    for (int i = thread; i < turn_ * kPieces; i += kThreads) pieces[i] = make_uint4(0, 0, 0, 0);
  }

  // All the row's blocks arrive before any goes on, and see what all wrote before.
  __device__ void Meet() {
    awaited_ += size_;
    __syncthreads();
    if (threadIdx.x == 0) {
      Arrive(row_.arrived);
      while (Arrived(row_.arrived) < awaited_) {
      }
    }
    __syncthreads();
  }

  // Adds the block's histogram to the row's, and clears it.
  __device__ void Move(GridRow::Sums& to) const {
    Histogram& from = shared_.histogram;
    for (int i = static_cast<int>(threadIdx.x); i < kBuckets; i += kThreads) {
      if (from.count[i] == 0) continue;
      atomicAdd(reinterpret_cast<unsigned long long*>(&to.sums[i]), SumOf(from, i));
      atomicAdd(&to.counts[i], from.count[i]);
      from.low[i] = 0;
      from.high[i] = 0;
      from.count[i] = 0;
    }
  }

  // Each thread has two buckets; the one within whose two the sum is reached says where.
  template <class F>
  __device__ void FindIn(const GridRow::Sums& sums, F needed_of) const {
    static_assert(kBuckets == 2 * kThreads);
    const auto thread = static_cast<int>(threadIdx.x);
    const ulonglong2 two = __ldcg(reinterpret_cast<const ulonglong2*>(sums.sums) + thread);
    const uint2 counts = __ldcg(reinterpret_cast<const uint2*>(sums.counts) + thread);
    std::uint64_t prefix = WarpPrefix(two.x + two.y);
    if (thread % 32 == 31) shared_.warps.first[thread / 32] = prefix;
    __syncthreads();
    std::uint64_t total = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      if (warp == thread / 32) prefix += total;
      total += shared_.warps.first[warp];
    }
    const std::uint64_t needed = needed_of(total);
    const std::uint64_t before = prefix - two.x - two.y;
    if (before >= needed || prefix < needed) return;
    const bool second = needed > before + two.x;
    shared_.found = {.digit = threadIdx.x * 2 + (second ? 1 : 0),
                     .count = second ? counts.y : counts.x,
                     .needed = needed - before - (second ? two.x : 0)};
  }

  GridMemory& shared_;
  GridRow& row_;
  const unsigned rank_;
  const unsigned size_;
  int turn_ = 0;
  std::uint32_t awaited_ = 0;  // arrivals at the meetings so far
};

}  // namespace thinkwire::worker::kernels::draw
