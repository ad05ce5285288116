#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/norm/row_norm.cuh"
#include "worker/kernels/cuda/peer/sum_ranks.h"

// What ranks do with the parts that they gathered from each other.
//
// SumRanksKernel: one thread adds eight elements, one 16-byte load a rank, in ascending rank order.
// Reads R * n * 2 bytes and writes n * 2: for the few rows of a decode step it is launch latency.
// JoinColumnsKernel: one thread copies four floats kThreads apart, so that any W is coalesced.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kSummed = 8;  // elements a thread
constexpr int kCopies = 4;

__global__ void __launch_bounds__(kThreads)
    SumRanksKernel(const uint4* parts, int ranks, std::int64_t vectors, uint4* out) {
  AllowNext();
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  WaitForPrevious();
  if (i >= vectors) return;
  Eight sum = Widen(parts[i]);
  for (int r = 1; r < ranks; ++r) sum = Add(sum, Widen(parts[r * vectors + i]));
  out[i] = Narrow(sum);
}

// Grid: x over columns, y over rows, z over ranks.
__global__ void __launch_bounds__(kThreads)
    JoinColumnsKernel(const float* parts, std::int64_t width, float* out) {
  AllowNext();
  const std::int64_t row = blockIdx.y;
  const std::int64_t rank = blockIdx.z;
  const float* from = parts + (rank * gridDim.y + row) * width;
  float* to = out + (row * gridDim.z + rank) * width;
  const std::int64_t first = std::int64_t{blockIdx.x} * kThreads * kCopies + threadIdx.x;
  WaitForPrevious();
#pragma unroll
  for (int i = 0; i < kCopies; ++i) {
    const std::int64_t column = first + i * kThreads;
    if (column < width) to[column] = from[column];
  }
}

unsigned BlocksFor(std::int64_t items, std::int64_t items_a_block) {
  return static_cast<unsigned>((items + items_a_block - 1) / items_a_block);
}

}  // namespace

void SumRanks(const void* parts, int ranks, std::int64_t n, void* out, cudaStream_t stream) {
  Check(n % kSummed == 0, "ranks are summed eight elements at a time");
  const std::int64_t vectors = n / kSummed;
  if (vectors == 0) return;
  Launch(SumRanksKernel, {.grid = BlocksFor(vectors, kThreads), .block = kThreads}, stream,
         static_cast<const uint4*>(parts), ranks, vectors, static_cast<uint4*>(out));
}

void JoinColumns(const float* parts, int ranks, std::int64_t rows, std::int64_t width, float* out,
                 cudaStream_t stream) {
  Check(rows <= 65535, "a grid has at most 65535 rows");
  if (rows == 0 || width == 0) return;
  const dim3 grid(BlocksFor(width, kThreads * kCopies), static_cast<unsigned>(rows),
                  static_cast<unsigned>(ranks));
  Launch(JoinColumnsKernel, {.grid = grid, .block = kThreads}, stream, parts, width, out);
}

}  // namespace thinkwire::worker::kernels
