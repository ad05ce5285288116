#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/device/async_copy.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/latent/latent_ops.h"
#include "worker/kernels/cuda/latent/latent_state.cuh"
#include "worker/kernels/cuda/latent/latent_walk.cuh"
#include "worker/kernels/cuda/latent/latent_work.cuh"

// Attention over latents: all heads of a token read the same keys of 576, whose first 512 are the
// values.
//
// Canonical order, by the token's position alone. Tiles of 32 keys at absolute positions within
// segments of 256; of a head and tile
//   s_j = q . k_j               one chain of 36 k16 tensor-core steps, ascending
//   m'  = max(m, scale s_j)     over the keys at or before the position
//   p_j = bf16(exp2(fma(s_j, scale, -m')))
//   l   = l exp2(m - m') + sum p_j, o likewise, by a chain of two k16 steps that goes on over tiles
// and segments are merged in ascending order by attention_tile.cuh's formula. Tiles beyond the
// position are not there; keys beyond it in its tile are zeros.
//
// Mapping: a block of eight warps has 32 heads of one token, each warp 16 heads and a quarter of a
// tile's keys, then a quarter of the 512 columns. It walks one segment (few tokens:
// latent_work.cuh), whose result another kernel merges, or all of them, and merges them itself
// through memory of its own. So every token goes the same way, a prompt's and a drawn one: 1,152
// bytes a key are read from DRAM once, from the second cache once for 32 heads.
// Shared memory: queries 37,376, two tiles 74,752, weights 2,560, maxima 512: two blocks an SM.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kBlocksOfSm = 2;
constexpr float kLog2E = 1.44269504F;

// Tiles [first, end) of a segment, of which the first is on its way; asks for `end` too if there is
// one more in what the block walks. `next` is the KV block of the tile after the first, then of
// that after `end`.
__device__ __forceinline__ void WalkSegment(const LatentWalk& walk, int first, int end, int last,
                                            int& next, LatentState& state) {
  state.Clear();
#pragma unroll 1
  for (int tile = first; tile < end; ++tile) {
    if (tile + 1 < last) walk.CopyTile(tile + 1, next);
    EndCopies();
    next = walk.BlockOf(tile + 2);
    AwaitCopies<1>();
    __syncthreads();
    walk.AddTile(tile, state);
    __syncthreads();  // the tile's place, and the weights', are free
  }
}

__global__ __launch_bounds__(kLatentThreads,
                             kBlocksOfSm) void AttendLatentsKernel(LatentArgs args) {
  extern __shared__ __align__(16) unsigned char shared[];
  WaitForPrevious();
  AllowNext();
  const LatentWork& work = args.work;
  const int tokens = args.batch.num_tokens;
  const int items = work.item_start[tokens] * args.groups;
  constexpr int kWarps = kLatentThreads / 32;
  const LatentKept kept = {work.kept +
                           (static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32) *
                               kLatentColumnTiles * 32};
  for (int item = static_cast<int>(blockIdx.x); item < items; item += static_cast<int>(gridDim.x)) {
    const int of_token = item / args.groups;
    const int token = TokenOf(work, tokens, of_token);
    const LatentWalk walk(args, shared, token, item % args.groups);
    const int num_tiles = walk.position() / kLatentTile + 1;
    const std::int64_t partial = work.partial_start[token];
    const int in_token = of_token - work.item_start[token];
    const int first = partial < 0 ? 0 : in_token * kSegmentTiles;
    const int last = partial < 0 ? num_tiles : min(num_tiles, first + kSegmentTiles);
    walk.CopyQueries();
    walk.CopyTile(first, walk.BlockOf(first));
    EndCopies();
    int next = walk.BlockOf(first + 1);
    LatentState state;
    float max[2] = {MinusInfinity(), MinusInfinity()};
    float sum[2] = {0.0F, 0.0F};
    for (int tile = first; tile < last; tile += kSegmentTiles) {
      const int end = min(last, tile + kSegmentTiles);
      WalkSegment(walk, tile, end, last, next, state);
      if (tile > first) {
        MergeFactors factors[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          factors[half] = MergeMax(max[half], state.max[half]);
          state.l[2 * half] = Merged(sum[half], state.l[2 * half], factors[half]);
        }
        kept.MergeBefore(factors, state);
      } else {
        max[0] = state.max[0];
        max[1] = state.max[1];
      }
      sum[0] = state.l[0];
      sum[1] = state.l[2];
      if (end < last) kept.Store(state);
    }
    if (partial < 0) {
      walk.StoreResult(state);
    } else {
      walk.StorePartial(state, partial + in_token);
    }
  }
}

// What a thread has of a head's segments: four columns.
struct MergedHead {
  float4 o;
  float max;
  float sum;

  __device__ __forceinline__ void Add(const MergedHead& later) {
    const MergeFactors factors = MergeMax(max, later.max);
    sum = Merged(sum, later.sum, factors);
    o = make_float4(Merged(o.x, later.o.x, factors), Merged(o.y, later.o.y, factors),
                    Merged(o.z, later.o.z, factors), Merged(o.w, later.o.w, factors));
  }
};

__device__ __forceinline__ MergedHead PartialOf(const LatentArgs& args, std::int64_t row) {
  const float2 sums = args.work.sums[row];
  return {reinterpret_cast<const float4*>(args.work.partials + row * kLatentWidth)[threadIdx.x],
          sums.x, sums.y};
}

// The segments of a head of a token whose partial results lie apart, in ascending order.
__global__ __launch_bounds__(128) void MergeLatentsKernel(LatentArgs args) {
  WaitForPrevious();
  AllowNext();
  const LatentWork& work = args.work;
  const int token = static_cast<int>(blockIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  const std::int64_t first = work.partial_start[token];
  const int segments = work.item_start[token + 1] - work.item_start[token];
  if (first < 0 || segments == 0) return;
  MergedHead merged = PartialOf(args, first * args.heads + head);
  constexpr int kAtOnce = 4;
#pragma unroll 1
  for (int segment = 1; segment < segments; segment += kAtOnce) {
    MergedHead later[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = min(segment + i, segments - 1);
      later[i] = PartialOf(args, (first + at) * args.heads + head);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (segment + i < segments) merged.Add(later[i]);
    }
  }
  const float inverse = Inverse(merged.sum, 1.0F);
  const std::int64_t row = static_cast<std::int64_t>(token) * args.heads + head;
  reinterpret_cast<uint2*>(args.out + row * kLatentWidth)[threadIdx.x] =
      make_uint2(Result(merged.o.x, merged.o.y, inverse), Result(merged.o.z, merged.o.w, inverse));
}

}  // namespace

void PrepareLatentAttention() {
  CUDA_CHECK(cudaFuncSetAttribute(&AttendLatentsKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kLatentSharedBytes));
}

bool CanAttendLatents(std::size_t shared_bytes) { return shared_bytes >= kLatentSharedBytes; }

void LaunchAttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv,
                         float scale, const Tensor& out, void* workspace, int num_sms,
                         cudaStream_t stream) {
  if (batch.num_tokens == 0) return;
  const std::int64_t heads = queries.dim(1);
  Check(queries.dtype == DType::kBf16 && out.dtype == DType::kBf16 &&
            queries.size() == batch.num_tokens * heads * kLatentKey &&
            out.size() == batch.num_tokens * heads * kLatentWidth,
        "queries are bf16 [T, H, 576], out is bf16 [T, H, 512]");
  Check(kv.planes[0].dtype == DType::kBf16 && kv.head_dim == kLatentKey && kv.block_tokens > 0,
        "a plane of latents is bf16 [N, B, 576]");
  Check(scale > 0.0F, "attention's scale is positive");
  const std::int64_t blocks = std::min<std::int64_t>(kBlocksOfSm * num_sms, kLatentBlocks);
  const LatentArgs args = {.queries = queries.as<__nv_bfloat16>(),
                           .plane = kv.planes[0].as<__nv_bfloat16>(),
                           .out = out.as<__nv_bfloat16>(),
                           .batch = batch,
                           .work = LatentWorkIn(workspace, heads, batch.num_tokens),
                           .heads = static_cast<int>(heads),
                           .groups = static_cast<int>((heads + kLatentHeads - 1) / kLatentHeads),
                           .block_tokens = kv.block_tokens,
                           .scale = scale * kLog2E};
  const bool splits = batch.num_tokens * args.groups < 2 * blocks;
  Launch(&PlanLatentsKernel, {.grid = dim3(1), .block = dim3(kPlanThreads)}, stream, batch,
         args.work, splits);
  Launch(&AttendLatentsKernel,
         {.grid = dim3(static_cast<unsigned>(blocks)),
          .block = dim3(kLatentThreads),
          .shared_bytes = kLatentSharedBytes},
         stream, args);
  if (!splits) return;
  Launch(&MergeLatentsKernel,
         {.grid = dim3(static_cast<unsigned>(batch.num_tokens), static_cast<unsigned>(heads)),
          .block = dim3(kLatentWidth / 4)},
         stream, args);
}

}  // namespace thinkwire::worker::kernels
