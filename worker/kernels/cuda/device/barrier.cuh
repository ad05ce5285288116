#pragma once

#include <cstdint>

// Barriers in shared memory that copies complete on (PTX ISA, "mbarrier"). A barrier counts
// arrivals and, on compute capability 9.0 and up, bytes; a phase ends when both are done. The first
// phase has parity 0.
namespace thinkwire::worker::kernels {

__device__ __forceinline__ std::uint32_t SharedAddress(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// One thread, before the others know of the barrier.
__device__ __forceinline__ void InitBarrier(std::uint32_t barrier, int arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// After InitBarrier, by the same thread: the copy engine sees the barriers too. A __syncthreads
// must follow.
__device__ __forceinline__ void PublishBarriers() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

__device__ __forceinline__ void Arrive(std::uint32_t barrier) {
  asm volatile("{.reg .b64 state; mbarrier.arrive.shared.b64 state, [%0];}" ::"r"(barrier)
               : "memory");
}

// Arrives once loads from shared memory have landed in the registers that were or-ed into `landed`,
// or in those that it was computed from. An arrival overtakes loads that are still queued behind
// other warps' stores, and a load is only known to be over when something needs its value: here the
// address, as only the launch knows that `zero` is 0. Without it the copy engine was seen to
// overwrite what a load had yet to read.
__device__ __forceinline__ void ArriveAfter(std::uint32_t landed, std::uint32_t zero,
                                            std::uint32_t barrier) {
  Arrive(barrier + (landed & zero));
}

// The same by the threads that are told to, without a branch.
__device__ __forceinline__ void ArriveAfterIf(bool arrives, std::uint32_t landed,
                                              std::uint32_t zero, std::uint32_t barrier) {
  asm volatile(
      "{.reg .pred p; .reg .b64 state; setp.ne.b32 p, %0, 0; "
      "@p mbarrier.arrive.shared.b64 state, [%1];}" ::"r"(static_cast<int>(arrives)),
      "r"(barrier + (landed & zero))
      : "memory");
}

// The same for __syncthreads.
__device__ __forceinline__ void SyncThreadsAfter(std::uint32_t landed, std::uint32_t zero) {
  __syncthreads_or(static_cast<int>(landed & zero));
}

// Returns once the phase of this parity is over.
__device__ __forceinline__ void WaitBarrier(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done = 0;
  do {
#if __CUDA_ARCH__ >= 900
    asm volatile(
        "{.reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
#else
    asm volatile(
        "{.reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
        : "=r"(done)
        : "r"(barrier), "r"(parity)
        : "memory");
#endif
  } while (done == 0);
}

// Whether the phase of this parity is over; what it brought is there then.
__device__ __forceinline__ bool IsOver(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done = 0;
  asm volatile(
      "{.reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

#if __CUDA_ARCH__ >= 900

// Arrives and makes the phase wait for `bytes` more bytes.
__device__ __forceinline__ void ArriveExpecting(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile(
      "{.reg .b64 state; mbarrier.arrive.expect_tx.shared.b64 state, [%0], %1;}" ::"r"(barrier),
      "r"(bytes)
      : "memory");
}

// Arrives at the barrier that lies at the same address in block `rank` of the cluster. Orders
// nothing (that would be a fence of all memory): for barriers that say that tensor cores or the
// copy engine have read something, which AwaitSteps waited for.
__device__ __forceinline__ void ArriveAtBlock(std::uint32_t barrier, unsigned rank) {
  asm volatile(
      "{.reg .b32 there; mapa.shared::cluster.u32 there, %0, %1; "
      "mbarrier.arrive.relaxed.cluster.shared::cluster.b64 _, [there];}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}

#endif

}  // namespace thinkwire::worker::kernels
