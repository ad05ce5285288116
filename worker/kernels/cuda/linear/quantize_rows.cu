#include <bit>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/row_codes.cuh"
#include "worker/kernels/cuda/linear/quantize_rows.h"

// A block rounds a row, which its threads hold in registers: thread i has the 16-byte pieces i, i +
// kCodeThreads, ... Reads 2 bytes and writes one a number: at one token it is all latency.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kCodeThreads = 512;
constexpr int kCodeWarps = kCodeThreads / 32;

template <int kPieces>
__global__ __launch_bounds__(kCodeThreads) void QuantizeRowsKernel(const uint4* x, int pieces,
                                                                   uint2* codes, float* scales) {
  __shared__ std::uint32_t greatest[kCodeWarps];
  AllowNext();
  WaitForPrevious();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * pieces;
  uint4 values[kPieces] = {};
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kCodeThreads;
    if (piece < pieces) values[j] = x[row + piece];
  }
  std::uint32_t most = 0;
#pragma unroll
  for (int j = 0; j < kPieces; ++j) most = GreatestOf(values[j], most);
  const RowScale scale = RowScaleOf(GreatestOverBlock(most, greatest));
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kCodeThreads;
    if (piece < pieces) codes[row + piece] = CodesOf(values[j], scale.inverse);
  }
  if (threadIdx.x == 0) scales[blockIdx.x] = scale.scale;
}

template <int kPieces>
void LaunchShaped(const Tensor& x, void* codes, float* scales, cudaStream_t stream) {
  Launch(&QuantizeRowsKernel<kPieces>,
         {.grid = dim3(static_cast<unsigned>(x.dim(0))), .block = dim3(kCodeThreads)}, stream,
         static_cast<const uint4*>(x.data), static_cast<int>(x.dim(1) / 8),
         static_cast<uint2*>(codes), scales);
}

}  // namespace

void LaunchQuantizeRows(const Tensor& x, void* codes, float* scales, cudaStream_t stream) {
  Check(x.rank == 2 && x.dtype == DType::kBf16 && x.dim(1) % 8 == 0 &&
            x.dim(1) <= kMostQuantizedColumns,
        "x is bf16 [T, columns], columns a multiple of 8, <= 32,768");
  const std::int64_t pieces = (x.dim(1) / 8 + kCodeThreads - 1) / kCodeThreads;
  if (pieces == 1) return LaunchShaped<1>(x, codes, scales, stream);
  if (pieces == 2) return LaunchShaped<2>(x, codes, scales, stream);
  if (pieces <= 5) return LaunchShaped<5>(x, codes, scales, stream);
  return LaunchShaped<8>(x, codes, scales, stream);
}

}  // namespace thinkwire::worker::kernels
