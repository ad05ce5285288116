#pragma once

#include <cuda.h>

#include <cstdint>

#include "worker/kernels/cuda/device/barrier.cuh"

// Hopper's copy engine (PTX ISA, "cp.async.bulk"), which completes on a barrier. Only for
// code of compute capability 9.0 and up.
namespace thinkwire::worker::kernels {

#if __CUDA_ARCH__ >= 900

// L2 eviction priorities as createpolicy.fractional makes them for the whole access.
inline constexpr std::uint64_t kEvictFirst = 0x12F0000000000000;  // read once
inline constexpr std::uint64_t kEvictNormal = 0x1000000000000000;
inline constexpr std::uint64_t kEvictLast = 0x14F0000000000000;  // read by every block

// A box of a row-major matrix, at column x and row y, in the map's own box and swizzle.
__device__ __forceinline__ void CopyBox(std::uint32_t to, const CUtensorMap& map, int x, int y,
                                        std::uint32_t barrier, std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(&map), "r"(x), "r"(y), "r"(barrier), "l"(policy)
      : "memory");
}

// Several boxes side by side, of a map of three dimensions (MakeBoxesMap), one after another.
__device__ __forceinline__ void CopyBoxes(std::uint32_t to, const CUtensorMap& map, int x, int y,
                                          int box, std::uint32_t barrier, std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(to),
      "l"(&map), "r"(x), "r"(y), "r"(box), "r"(barrier), "l"(policy)
      : "memory");
}

// `bytes` in a row, a multiple of 16; both ends are aligned to 16 bytes.
__device__ __forceinline__ void CopyBytes(std::uint32_t to, const void* from, std::uint32_t bytes,
                                          std::uint32_t barrier, std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1], %2, [%3], %4;" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
      : "memory");
}

// A box to the same place in the shared memory of all blocks of the cluster whose bits are set
// in `blocks`; each one's own barrier counts the bytes.
__device__ __forceinline__ void CopyBoxToBlocks(std::uint32_t to, const CUtensorMap& map, int x,
                                                int y, std::uint32_t barrier, std::uint16_t blocks,
                                                std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5, %6;" ::"r"(to),
      "l"(&map), "r"(x), "r"(y), "r"(barrier), "h"(blocks), "l"(policy)
      : "memory");
}

#endif

}  // namespace thinkwire::worker::kernels
