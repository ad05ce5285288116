#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/device/async_copy.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/latent/latent_kernels.h"
#include "worker/kernels/cuda/latent/latent_ops.h"
#include "worker/kernels/cuda/latent/latent_state.cuh"
#include "worker/kernels/cuda/latent/latent_walk.cuh"
#include "worker/kernels/cuda/latent/latent_work.cuh"

// Attention over latents: all heads of a token read the same keys of 576, whose first 512 are the
// values. This is the kernel for every GPU; latent_attention_wgmma.cu is Hopper's.
//
// Canonical order, by the token's position alone. Tiles of 32 keys at absolute positions within
// segments, whose length latent_work.cuh has from the position; of a head and tile
//   s_j = q . k_j               one chain of 36 k16 tensor-core steps, ascending
//   m'  = max(m, scale s_j)     over the keys at or before the position
//   p_j = bf16(exp2(fma(s_j, scale, -m')))
//   l   = l exp2(m - m') + sum p_j, o likewise, by a chain of two k16 steps that goes on over tiles
// and segments are merged in ascending order by attention_tile.cuh's formula. Tiles beyond the
// position are not there; keys beyond it in its tile are zeros.
//
// Mapping: a block of eight warps has 32 heads of one token, each warp 16 heads and a quarter of a
// tile's keys, then a quarter of the 512 columns. It walks an item (latent_work.cuh), and merges
// the segments of one that has several through memory of its own. So every token goes the same way,
// a prompt's and a drawn one: 1,152 bytes a key are read from DRAM once, from the second cache once
// for 32 heads.
// Shared memory: queries 37,376, two tiles 74,752, weights 2,560, maxima 512, 482 of where items
// start: two blocks an SM.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kBlocksOfSm = 2;

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
  const LatentItems items(args.batch, args.work, args.groups,
                          reinterpret_cast<std::uint16_t*>(shared + kLatentStartsAt));
  __syncthreads();
  constexpr int kWarps = kLatentThreads / 32;
  const LatentKept kept = {args.work.kept +
                           (static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32) *
                               kLatentColumnTiles * 32};
  const int count = items.count();
  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x)) {
    LatentItem item;
    if (!items.Find(i, item)) continue;
    const LatentWalk walk(args, shared, item.token, item.group);
    const int first = item.first / kLatentTile;
    const int last = (item.end + kLatentTile - 1) / kLatentTile;
    const int segment = item.segment / kLatentTile;
    walk.CopyQueries();
    walk.CopyTile(first, walk.BlockOf(first));
    EndCopies();
    int next = walk.BlockOf(first + 1);
    LatentState state;
    float max[2] = {MinusInfinity(), MinusInfinity()};
    float sum[2] = {0.0F, 0.0F};
    for (int tile = first; tile < last; tile += segment) {
      const int end = min(last, tile + segment);
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
      state.max[0] = max[0];
      state.max[1] = max[1];
      sum[0] = state.l[0];
      sum[1] = state.l[2];
      if (end < last) kept.Store(state);
    }
    if (item.partial < 0) {
      walk.StoreResult(state);
    } else {
      walk.StorePartial(state, item.partial);
    }
  }
}

}  // namespace

void PrepareLatents() {
  CUDA_CHECK(cudaFuncSetAttribute(&AttendLatentsKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kLatentSharedBytes));
}

bool CanAttendLatents(std::size_t shared_bytes) { return shared_bytes >= kLatentSharedBytes; }

void LaunchLatents(const LatentArgs& args, int num_sms, cudaStream_t stream) {
  Launch(&AttendLatentsKernel,
         {.grid = dim3(
              static_cast<unsigned>(std::min<std::int64_t>(kBlocksOfSm * num_sms, kLatentBlocks))),
          .block = dim3(kLatentThreads),
          .shared_bytes = kLatentSharedBytes},
         stream, args);
}

}  // namespace thinkwire::worker::kernels
