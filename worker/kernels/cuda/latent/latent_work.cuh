#pragma once

#include <cstdint>

#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/kv.h"
#include "worker/kernels/parts_extent.h"

// How latent attention's work is cut: a token is one item, or, while there are few tokens and room
// for partial results, as many as it has segments. No bit depends on it.
namespace thinkwire::worker::kernels {

inline constexpr int kLatentTile = 32;  // keys
inline constexpr int kSegmentTiles = 8;
inline constexpr int kLatentSegment = kLatentTile * kSegmentTiles;
inline constexpr int kPlanThreads = 1024;

// Where all of it lies in the workspace (LatentWorkspaceBytes).
struct LatentWork {
  float* partials;              // [kLatentPartials, H, 512]
  float2* sums;                 // [kLatentPartials, H]: the maximum and the sum of weights
  float4* kept;                 // what blocks have so far
  std::int32_t* item_start;     // [T + 1] the first item of each token, then their number
  std::int32_t* partial_start;  // [T] its first partial result; -1: it is one item
};

inline LatentWork LatentWorkIn(void* workspace, std::int64_t heads, std::int64_t tokens) {
  LatentWork work = {};
  work.partials = static_cast<float*>(workspace);
  work.sums = reinterpret_cast<float2*>(work.partials + kLatentPartials * heads * kLatentWidth);
  work.kept = reinterpret_cast<float4*>(work.sums + kLatentPartials * heads);
  work.item_start = reinterpret_cast<std::int32_t*>(work.kept + kLatentBlocks * kLatentBlockHeads *
                                                                    kLatentWidth / 4);
  work.partial_start = work.item_start + tokens + 1;
  return work;
}

#ifdef __CUDACC__

__device__ __forceinline__ int SegmentsOf(const BatchView& batch, int token) {
  return batch.token_seq[token] < 0 ? 0 : batch.positions[token] / kLatentSegment + 1;
}

// The sum of what earlier threads of a block of kPlanThreads have, and in `total` of what all have.
static __device__ __forceinline__ int SumBefore(int own, int (&warp_sums)[kPlanThreads / 32],
                                                int* total) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int sum = own;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const int other = __shfl_up_sync(0xFFFFFFFFU, sum, distance);
    if (lane >= distance) sum += other;
  }
  __syncthreads();
  if (lane == 31) warp_sums[threadIdx.x / 32] = sum;
  __syncthreads();
  int before = 0;
  *total = 0;
  for (int warp = 0; warp < kPlanThreads / 32; ++warp) {
    if (warp < static_cast<int>(threadIdx.x / 32)) before += warp_sums[warp];
    *total += warp_sums[warp];
  }
  return before + sum - own;
}

// One block. A thread has so many tokens in a row.
static __global__ __launch_bounds__(kPlanThreads) void PlanLatentsKernel(BatchView batch,
                                                                         LatentWork work,
                                                                         bool splits) {
  __shared__ int warp_sums[kPlanThreads / 32];
  WaitForPrevious();
  AllowNext();
  const int share = (batch.num_tokens + kPlanThreads - 1) / kPlanThreads;
  const int first = min(batch.num_tokens, static_cast<int>(threadIdx.x) * share);
  const int end = min(batch.num_tokens, first + share);
  int segments = 0;
  for (int token = first; token < end; ++token) segments += SegmentsOf(batch, token);
  int total = 0;
  int partial = SumBefore(segments, warp_sums, &total);
  int items = 0;
  for (int token = first; token < end; ++token) {
    const int own = SegmentsOf(batch, token);
    const bool is_split = splits && own > 0 && partial + own <= kLatentPartials;
    work.partial_start[token] = is_split ? partial : -1;
    items += is_split ? own : own > 0 ? 1 : 0;
    partial += own;
  }
  int item = SumBefore(items, warp_sums, &total);
  for (int token = first; token < end; ++token) {
    work.item_start[token] = item;
    const int own = SegmentsOf(batch, token);
    item += work.partial_start[token] >= 0 ? own : own > 0 ? 1 : 0;
  }
  if (threadIdx.x == 0) work.item_start[batch.num_tokens] = total;
}

// The token that has item `item`. REQUIRES: there is one.
static __device__ __forceinline__ int TokenOf(const LatentWork& work, int tokens, int item) {
  int low = 0;
  int high = tokens - 1;
  while (low < high) {  // the last whose first item is not after it; one without items ends there
    const int middle = (low + high + 1) / 2;
    if (work.item_start[middle] <= item) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

#endif

}  // namespace thinkwire::worker::kernels
