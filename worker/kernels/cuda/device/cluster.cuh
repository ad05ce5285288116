#pragma once

#include <cstdint>

// Thread block clusters: blocks that run together and reach each other's shared memory. Compiled
// for a device without them, or launched without the attribute, every block is a cluster of one.
namespace thinkwire::worker::kernels {

__device__ __forceinline__ unsigned ClusterSize() {
  unsigned size = 1;
#if __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
#endif
  return size;
}

// This block's place in its cluster.
__device__ __forceinline__ unsigned ClusterRank() {
  unsigned rank = 0;
#if __CUDA_ARCH__ >= 900
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
  return rank;
}

// All threads of the cluster arrive before any leaves, and see what all wrote before.
__device__ __forceinline__ void ClusterSync() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}

// Where block `rank` has what lies at `shared` in this block's shared memory. REQUIRES: that block
// has started and will not have ended before the access.
template <class T>
__device__ __forceinline__ T* InBlock(T* shared, unsigned rank) {
#if __CUDA_ARCH__ >= 900
  std::uint64_t address;
  asm("mapa.u64 %0, %1, %2;"
      : "=l"(address)
      : "l"(reinterpret_cast<std::uint64_t>(shared)), "r"(rank));
  return reinterpret_cast<T*>(address);
#else
  return shared;
#endif
}

}  // namespace thinkwire::worker::kernels
