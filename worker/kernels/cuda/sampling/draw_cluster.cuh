#pragma once

#include <cstdint>

#include "worker/kernels/cuda/device/cluster.cuh"
#include "worker/kernels/cuda/sampling/draw_histogram.cuh"
#include "worker/kernels/cuda/sampling/draw_order.cuh"
#include "worker/kernels/cuda/sampling/draw_search.cuh"

// The blocks of a cluster that have a row together: what each finds of its slice becomes what they
// find of the row. They meet in each other's shared memory.
namespace thinkwire::worker::kernels::draw {

// Two values of each block of the cluster.
struct Exchange {
  std::uint64_t first[kMaxCluster];
  std::uint64_t second[kMaxCluster];
};

// A block's shared memory where a cluster has the row.
struct SearchMemory {
  // Taken in turn: the other blocks may still read the last one while this one clears the next. The
  // first search finds the first cleared.
  Histogram histograms[2];
  HistogramExchange exchange;
  Exchange extremes;
  Exchange results;
  WarpPairs warps;
  Found found;
};

// The same over all threads of the cluster, which all get it.
template <bool kSumSecond>
__device__ Pair Reduce(WarpPairs& shared, Exchange& exchange, Pair mine) {
  mine = ReduceInBlock<kSumSecond>(shared, mine);
  if (threadIdx.x < ClusterSize()) {
    InBlock(&exchange, threadIdx.x)->first[ClusterRank()] = mine.first;
    InBlock(&exchange, threadIdx.x)->second[ClusterRank()] = mine.second;
  }
  ClusterSync();
  Pair all = {0, 0};
  for (unsigned rank = 0; rank < ClusterSize(); ++rank) {
    const std::uint64_t second = exchange.second[rank];
    all.first = max(all.first, exchange.first[rank]);
    all.second = kSumSecond ? all.second + second : max(all.second, second);
  }
  return all;
}

class ClusterBlocks {
 public:
  // REQUIRES: the first histogram is cleared, and all blocks have started.
  __device__ explicit ClusterBlocks(SearchMemory& shared) : shared_(shared) {}

  __device__ unsigned rank() const { return ClusterRank(); }
  // This block's, cleared, for the next FindDigit.
  __device__ Histogram& histogram() const { return shared_.histograms[turn_ % 2]; }

  // Over all threads of all blocks: the greatest first and second.
  __device__ Pair Extremes(const Pair& mine) const {
    return Reduce<false>(shared_.warps, shared_.extremes, mine);
  }
  // The digit of all blocks' histograms where a sum over the order reaches needed_of(the sum of
  // all), for all threads.
  template <class F>
  __device__ Found FindDigit(F needed_of) {
    const Histogram& full = histogram();
    __syncthreads();
    SendGroups(full, shared_.exchange, turn_);
    ClusterSync();
    Clear(shared_.histograms[(turn_ + 1) % 2]);
    const Found mine = draw::FindDigit(full, shared_.exchange, turn_, needed_of);
    ++turn_;
    if (threadIdx.x == 0) shared_.found = mine;
    __syncthreads();
    return shared_.found;
  }
  // The last call of all: the greatest first and the sum of second, for the one thread of all
  // blocks that is told so.
  __device__ bool Finish(Pair& mine) const {
    mine = Reduce<true>(shared_.warps, shared_.results, mine);
    return ClusterRank() == 0 && threadIdx.x == 0;
  }

 private:
  SearchMemory& shared_;
  int turn_ = 0;
};

}  // namespace thinkwire::worker::kernels::draw
