// Latent attention on Hopper: latent_attention.cu's formula, and bits, by wgmma.
//
// Mapping. A block has 64 heads of a token, the rows of every product, and walks the keys of one
// item after another (latent_work.cuh), so that each latent is read once for all of them:
//   four       bring queries and tiles of 64 keys by the copy engine (latent_ring.cuh)
//   four more  make weights: scores of 64 keys in one chain of 36 steps, which as bf16 go through
//              shared memory, with the factors by which they change what was before
//              (latent_weights.cuh)
//   two fours  have 256 columns each, add values to them, and merge segments (latent_values.cuh)
// All three are at different tiles, and tell each other by barriers. Of 65 to 128 heads two blocks
// are a cluster, each of which brings half of every tile to both.
// Of a tile the two halves are tiles of latent_attention.cu: either has its own maximum, and
// factors that are mostly 1, where nothing is multiplied. A half's place is free as soon as it was
// added.
//
// Shared memory: queries 73,728 bytes, two tiles 147,456, weights 8,192, barriers and numbers of a
// head 1,600: one block an SM. Registers: 128 of sums a thread, so that what is merged with a
// segment waits in global memory: 128 KB a block and segment, of which the L2 cache has all.
// A last tile's keys beyond the position are zeroed where their 16 were copied, and left out else.
//
// Work: 2 * 1,088 * 64 flops a key at up to 4,096 a cycle and SM: 34 cycles, in which 1,152 bytes
// arrive.
#include <cuda.h>
#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/elected_copy.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_map.h"
#include "worker/kernels/cuda/latent/latent_kernels.h"
#include "worker/kernels/cuda/latent/latent_ring.cuh"
#include "worker/kernels/cuda/latent/latent_values.cuh"
#include "worker/kernels/cuda/latent/latent_weights.cuh"

namespace thinkwire::worker::kernels {
namespace {

constexpr int kBlockThreads = 4 * kGroupThreads;
// What they keep has as much room as that of the other kernel's blocks, of half the heads.
constexpr int kMostBlocks = static_cast<int>(kLatentBlocks / 2);

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Registers a thread. The weights' warps keep the 128 that the kernel is launched with.
constexpr int kCopierRegisters = 48;
constexpr int kValuesRegisters = 168;
static_assert(kCopierRegisters + 128 + 2 * kValuesRegisters <= 512);

template <int kCluster>
__device__ __forceinline__ void InitLatentBarriers(LatentScalars& scalars) {
  InitBarrier(SharedAddress(&scalars.queries_ready), 1);
  InitBarrier(SharedAddress(&scalars.queries_free), kGroupThreads / 32);
  for (int place = 0; place < kRingTiles; ++place) {
    InitBarrier(SharedAddress(&scalars.ready[place]), kCopierWarps);
    for (int half = 0; half < 2; ++half) {
      InitBarrier(SharedAddress(&scalars.free[place][half]), kValueWarps * kCluster);
    }
  }
  InitBarrier(SharedAddress(&scalars.weights_ready), kGroupThreads);
  InitBarrier(SharedAddress(&scalars.weights_free), kValueWarps);
  PublishBarriers();
}

template <class Worker>
__device__ __forceinline__ void ForItems(const LatentItems& items, Worker&& worker) {
  const int count = items.count();
  LatentItem item;
  for (int i = static_cast<int>(blockIdx.x); i < count; i += static_cast<int>(gridDim.x)) {
    if (items.Find(i, item)) worker(item);
  }
}

#endif

template <int kCluster>
__global__ void __launch_bounds__(kBlockThreads, 1)
    WgmmaLatentsKernel(const __grid_constant__ LatentArgs args,
                       const __grid_constant__ CUtensorMap queries,
                       const __grid_constant__ CUtensorMap plane, int box_heads) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char memory[];
  auto& shared = *reinterpret_cast<LatentShared*>(memory);
  if (threadIdx.x == 0) {
    PrefetchMap(queries);
    PrefetchMap(plane);
    InitLatentBarriers<kCluster>(shared.scalars);
  }
  WaitForPrevious();
  AllowNext();
  const LatentItems items(args.batch, args.work, args.groups, shared.scalars.starts);
  if constexpr (kCluster == 1) {
    __syncthreads();
  } else {
    ClusterSync();
  }
  // From lane 0, so that the compiler knows it to be the same in all lanes.
  const int role = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / kGroupThreads, 0);
  if (role == 0) {
    ShrinkRegisters<kCopierRegisters>();
    LatentCopier<kCluster> copier(args, shared, queries, plane, box_heads);
    ForItems(items, [&](const LatentItem& item) { copier.Copy(item); });
  } else if (role == 1) {
    LatentWeights weights(args, shared);
    ForItems(items, [&](const LatentItem& item) { weights.Walk(item); });
  } else {
    GrowRegisters<kValuesRegisters>();
    LatentValues<kCluster> values(args, shared, role - 2);
    ForItems(items, [&](const LatentItem& item) { values.Walk(item); });
  }
  if constexpr (kCluster > 1) ClusterSync();  // a neighbour copies to this block, and tells it
#else
  __trap();
#endif
}

template <int kCluster>
void LaunchClusters(const LatentArgs& args, std::int64_t plane_rows, int num_sms,
                    cudaStream_t stream) {
  const int box_heads = std::min(args.heads, kGroupHeads);
  const std::int64_t rows = std::int64_t{args.batch.num_tokens} * args.heads;
  Launch(WgmmaLatentsKernel<kCluster>,
         {.grid = dim3(static_cast<unsigned>(std::min(num_sms, kMostBlocks) / kCluster * kCluster)),
          .block = dim3(kBlockThreads),
          .shared_bytes = sizeof(LatentShared),
          .cluster = kCluster},
         stream, args, MakeRowMap(args.queries, rows, kLatentWidth + kLatentRotated, 64, box_heads),
         MakeRowMap(args.plane, plane_rows, kLatentWidth + kLatentRotated, 64, kPieceKeys),
         box_heads);
}

template <int kCluster>
void PrepareClusters() {
  CUDA_CHECK(cudaFuncSetAttribute(WgmmaLatentsKernel<kCluster>,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  sizeof(LatentShared)));
}

}  // namespace

void PrepareWgmmaLatents() {
  PrepareClusters<1>();
  PrepareClusters<2>();
}

void LaunchWgmmaLatents(const LatentArgs& args, std::int64_t plane_rows, int num_sms,
                        cudaStream_t stream) {
  if (args.groups == 2) {
    LaunchClusters<2>(args, plane_rows, num_sms, stream);
  } else {
    LaunchClusters<1>(args, plane_rows, num_sms, stream);
  }
}

}  // namespace thinkwire::worker::kernels
