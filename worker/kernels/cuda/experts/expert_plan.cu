#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/experts/expert_ops.h"

// Sorts a step's pairs by expert (ExpertPlan). A block an expert: it counts all experts' pairs in
// shared memory, adds up those before its own, and writes its own in order. At R1's 8 a token at
// most 16,384 pairs, 64 KB of the second cache: some microseconds beside experts that are read for
// milliseconds.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

struct Args {
  const std::int32_t* ids;
  int pairs;  // T * P
  int first;  // expert
  int experts;
  ExpertPlan plan;
};

// What lies before expert `expert`.
struct Before {
  int pairs;
  int tiles;
};

__device__ __forceinline__ int SumOverBlock(int own, int (&warp_sums)[kWarps]) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    own += __shfl_xor_sync(0xFFFFFFFFU, own, distance);
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = own;
  __syncthreads();
  int sum = 0;
  for (int warp = 0; warp < kWarps; ++warp) sum += warp_sums[warp];
  return sum;
}

__device__ __forceinline__ void Count(const Args& args, int* counts) {
  for (int e = static_cast<int>(threadIdx.x); e < args.experts; e += kThreads) counts[e] = 0;
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < args.pairs; i += kThreads) {
    const int expert = args.ids[i] - args.first;
    if (args.ids[i] >= 0 && expert >= 0 && expert < args.experts) atomicAdd(&counts[expert], 1);
  }
  __syncthreads();
}

__device__ __forceinline__ Before SumBefore(const Args& args, const int* counts, int end,
                                            int (&warp_sums)[kWarps]) {
  Before own = {};
  for (int e = static_cast<int>(threadIdx.x); e < end; e += kThreads) {
    own.pairs += counts[e];
    own.tiles += (counts[e] + args.plan.tile_tokens - 1) / args.plan.tile_tokens;
  }
  return {SumOverBlock(own.pairs, warp_sums), SumOverBlock(own.tiles, warp_sums)};
}

// The expert's pairs, ascending, to `to`.
__device__ __forceinline__ void StorePairs(const Args& args, int expert, std::int32_t* to,
                                           int (&warp_sums)[kWarps]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  for (int first = 0; first < args.pairs; first += kThreads) {
    const int i = first + static_cast<int>(threadIdx.x);
    const bool is_own = i < args.pairs && args.ids[i] == args.first + expert;
    const unsigned votes = __ballot_sync(0xFFFFFFFFU, is_own);
    if (lane == 0) warp_sums[warp] = __popc(votes);
    __syncthreads();
    int before = __popc(votes & ((1U << lane) - 1));
    int all = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) before += warp_sums[w];
      all += warp_sums[w];
    }
    if (is_own) to[before] = i;
    to += all;
    __syncthreads();
  }
}

__global__ __launch_bounds__(kThreads) void PlanExpertsKernel(Args args) {
  extern __shared__ int counts[];
  __shared__ int warp_sums[kWarps];
  WaitForPrevious();
  AllowNext();
  const ExpertPlan& plan = args.plan;
  const int expert = static_cast<int>(blockIdx.x);
  Count(args, counts);
  const Before before = SumBefore(args, counts, expert, warp_sums);
  const int own = counts[expert];
  const int tiles = (own + plan.tile_tokens - 1) / plan.tile_tokens;
  for (int i = static_cast<int>(threadIdx.x); i < tiles; i += kThreads) {
    plan.tile_expert[before.tiles + i] = expert;
    plan.tile_first[before.tiles + i] = before.pairs + i * plan.tile_tokens;
  }
  if (threadIdx.x == 0) plan.starts[expert] = before.pairs;
  __syncthreads();
  StorePairs(args, expert, plan.pairs + before.pairs, warp_sums);
  if (expert + 1 < args.experts) return;
  if (threadIdx.x == 0) plan.starts[args.experts] = before.pairs + own;
  for (std::int64_t i = before.tiles + tiles + threadIdx.x; i < plan.most_tiles; i += kThreads) {
    plan.tile_expert[i] = -1;
  }
}

}  // namespace

void LaunchPlanExperts(const ExpertChoice& choice, const ExpertShape& shape, const ExpertPlan& plan,
                       cudaStream_t stream) {
  const Args args = {.ids = choice.ids.as<std::int32_t>(),
                     .pairs = static_cast<int>(choice.ids.size()),
                     .first = static_cast<int>(shape.first),
                     .experts = static_cast<int>(shape.count),
                     .plan = plan};
  Launch(&PlanExpertsKernel,
         {.grid = dim3(static_cast<unsigned>(shape.count)),
          .block = dim3(kThreads),
          .shared_bytes = static_cast<std::size_t>(shape.count) * sizeof(int)},
         stream, args);
}

}  // namespace thinkwire::worker::kernels
