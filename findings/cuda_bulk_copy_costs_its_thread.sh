#!/usr/bin/env bash
# CUDA on Hopper: asking for a bulk copy into shared memory costs its thread as much for 64 bytes as for
# two kilobytes, three times what a cp.async of 16 bytes costs.
#
# cp.async.bulk is asynchronous, and one thread asks for it. A good guess is that asking is one
# instruction's time, so that how a tile is cut into copies matters to the memory alone. But that
# thread is held for each copy, whatever its size: a ring that is fed by one thread in copies of
# 1 KB is bound by that thread and not by memory. Few large copies, or copies by tensor maps, which
# bring many rows each, are what a ring should be made of.
#
# Needs nvcc of CUDA 12 or 13 and one GPU of compute capability 9.0. Exit code 0 as long as it is so.
# Seen on an H200, CUDA 13.0.88, driver 580.159: 70.4 cycles each for 64, 256, 1,024 and 2,048 bytes, and
# 22.4 for a cp.async.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/bulk.cu" <<'SOURCE'
#include <cstdint>
#include <cstdio>

constexpr int kCopies = 64;

__device__ std::uint32_t Shared(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

// Cycles that the asking alone takes thread 0: of `kCopies` bulk copies of `bytes` each, or where
// bytes is 0 of as many cp.async of 16 bytes.
__global__ void Ask(const char* from, int bytes, long long* cycles) {
  extern __shared__ __align__(128) char to[];
  __shared__ std::uint64_t barrier;
  if (threadIdx.x != 0) return;
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(Shared(&barrier)));
  asm volatile("fence.proxy.async;");
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(Shared(&barrier)),
               "r"(bytes * kCopies));
  const long long start = clock64();
  for (int i = 0; i < kCopies; ++i) {
    if (bytes == 0) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(Shared(to + 16 * i)),
                   "l"(from + 16 * i));
    } else {
      asm volatile(
          "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
              Shared(to + i * bytes)),
          "l"(from + i * bytes), "r"(bytes), "r"(Shared(&barrier))
          : "memory");
    }
  }
  *cycles = clock64() - start;
  if (bytes == 0) {
    asm volatile("cp.async.wait_all;");
    return;
  }
  std::uint32_t done = 0;
  while (done == 0) {
    asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], 0; selp.u32 %0, 1, 0, p; }"
                 : "=r"(done)
                 : "r"(Shared(&barrier)));
  }
}

int main() {
  char* from;
  long long* cycles;
  cudaMalloc(&from, 1 << 20);
  cudaMallocHost(&cycles, sizeof(*cycles));
  cudaFuncSetAttribute(Ask, cudaFuncAttributeMaxDynamicSharedMemorySize, 2048 * kCopies);
  double least = 1e9, most = 0, plain = 0;
  for (const int bytes : {0, 64, 256, 1024, 2048}) {
    double each = 0;
    for (int round = 0; round < 3; ++round) {  // the last: warm
      Ask<<<1, 32, 2048 * kCopies>>>(from, bytes, cycles);
      if (cudaDeviceSynchronize() != cudaSuccess) return 2;
      each = static_cast<double>(*cycles) / kCopies;
    }
    std::printf("%s of %4d bytes: %6.1f cycles each\n", bytes == 0 ? "cp.async     " : "cp.async.bulk",
                bytes == 0 ? 16 : bytes, each);
    if (bytes == 0) plain = each;
    if (bytes != 0 && each < least) least = each;
    if (bytes != 0 && each > most) most = each;
  }
  return least > 2 * plain && most < 1.5 * least ? 0 : 1;
}
SOURCE
nvcc -std=c++17 -arch=sm_90a -o "$folder/bulk" "$folder/bulk.cu"
nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
"$folder/bulk"
