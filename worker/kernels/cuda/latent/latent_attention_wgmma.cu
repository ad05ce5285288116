#include <cuda.h>
#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "worker/kernels/cuda/device/cuda_check.h"
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

// Registers a thread: four groups' are no more than 512.
constexpr int kCopierRegisters = 40;
constexpr int kWeightsRegisters = 104;
constexpr int kValuesRegisters = 184;

template <int kCluster>
__device__ __forceinline__ void InitLatentBarriers(LatentScalars& scalars) {
  InitBarrier(SharedAddress(&scalars.queries_ready), 1);
  InitBarrier(SharedAddress(&scalars.queries_free), kGroupThreads / 32);
  for (int place = 0; place < kRingTiles; ++place) {
    InitBarrier(SharedAddress(&scalars.ready[place]), 1);
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
  if (threadIdx.x == 0) InitLatentBarriers<kCluster>(shared.scalars);
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
    if (threadIdx.x < 32) {
      LatentCopier<kCluster> copier(args, shared, queries, plane, box_heads);
      ForItems(items, [&](const LatentItem& item) { copier.Copy(item); });
    }
  } else if (role == 1) {
    ShrinkRegisters<kWeightsRegisters>();
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
