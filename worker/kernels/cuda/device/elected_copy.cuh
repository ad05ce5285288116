#pragma once

#include <cuda.h>

#include <cstdint>

// bulk_copy.cuh's copies where a whole warp asks and the lanes whose `is_elected` is set, one of
// them, are heard. A warp of which one lane alone runs has its addresses in no uniform register,
// where the copy engine's instructions want them, and takes some 80 ns to bring each there.
namespace thinkwire::worker::kernels {

#if __CUDA_ARCH__ >= 900

__device__ __forceinline__ void ElectedCopyBytes(bool is_elected, std::uint32_t to,
                                                 const void* from, std::uint32_t bytes,
                                                 std::uint32_t barrier, std::uint64_t policy) {
  asm volatile(
      "{.reg .pred p; setp.ne.b32 p, %0, 0; "
      "@p cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%1], [%2], %3, [%4], %5;}" ::"r"(static_cast<int>(is_elected)),
      "r"(to), "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
      : "memory");
}

__device__ __forceinline__ void ElectedCopyBoxes(bool is_elected, std::uint32_t to,
                                                 const CUtensorMap& map, int x, int y, int box,
                                                 std::uint32_t barrier, std::uint64_t policy) {
  asm volatile(
      "{.reg .pred p; setp.ne.b32 p, %0, 0; @p cp.async.bulk.tensor.3d.shared::cluster.global"
      ".mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%1], [%2, {%3, %4, %5}], [%6], %7;}" ::"r"(static_cast<int>(is_elected)),
      "r"(to), "l"(&map), "r"(x), "r"(y), "r"(box), "r"(barrier), "l"(policy)
      : "memory");
}

__device__ __forceinline__ void ElectedArriveExpecting(bool is_elected, std::uint32_t barrier,
                                                       std::uint32_t bytes) {
  asm volatile(
      "{.reg .pred p; .reg .b64 state; setp.ne.b32 p, %0, 0; "
      "@p mbarrier.arrive.expect_tx.shared.b64 state, [%1], %2;}" ::"r"(
          static_cast<int>(is_elected)),
      "r"(barrier), "r"(bytes)
      : "memory");
}

// Has the map where copies look for it before the first of them.
__device__ __forceinline__ void PrefetchMap(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

#endif

}  // namespace thinkwire::worker::kernels
