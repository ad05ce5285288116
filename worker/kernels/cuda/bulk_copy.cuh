#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>

// Hopper's copy engine and the barriers that it completes on (PTX ISA, "mbarrier" and
// "cp.async.bulk"). A barrier counts arrivals and bytes; a phase ends when both are done. Only for
// code of compute capability 9.0 and up.
namespace thinkwire::worker::kernels {

__device__ __forceinline__ std::uint32_t SharedAddress(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

#if __CUDA_ARCH__ >= 900

__device__ __forceinline__ void InitBarrier(std::uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Makes initialised barriers visible to the copy engine. A __syncthreads must follow.
__device__ __forceinline__ void FenceBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void Arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives once loads from shared memory have landed in the registers that were or-ed into `landed`.
// An arrival overtakes loads that are still queued behind other warps' stores, and a load is only
// known to be over when something needs its value: here the address, as only the launch knows that
// `zero` is 0. Without it the copy engine was seen to overwrite what a load had yet to read.
__device__ __forceinline__ void ArriveAfter(std::uint32_t landed, std::uint32_t zero,
                                            std::uint32_t barrier) {
  Arrive(barrier + (landed & zero));
}

// Arrives and makes the phase wait for `bytes` more bytes.
__device__ __forceinline__ void ArriveExpecting(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Returns once the phase of this parity has ended.
__device__ __forceinline__ void WaitPhase(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
      "@done bra over;\n"
      "bra again;\n"
      "over:\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// L2 eviction priorities as createpolicy.fractional makes them for the whole access.
inline constexpr std::uint64_t kEvictFirst = 0x12F0000000000000;  // read once
inline constexpr std::uint64_t kEvictLast = 0x14F0000000000000;   // read by every block

// A box of a row-major matrix, at column x and row y, in the map's own box and swizzle.
__device__ __forceinline__ void CopyBox(std::uint32_t to, const CUtensorMap& map, int x, int y,
                                        std::uint32_t barrier, std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(&map), "r"(x), "r"(y), "r"(barrier), "l"(policy)
      : "memory");
}

#endif

}  // namespace thinkwire::worker::kernels
