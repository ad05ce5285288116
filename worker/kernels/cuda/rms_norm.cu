#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/bf16_pieces.cuh"
#include "worker/kernels/cuda/launch.cuh"
#include "worker/kernels/cuda/token_ops.h"

// residual = bf16(residual + partial); out = bf16(residual / sqrt(mean(residual^2) + eps) *
// weight).
//
// Mapping: one block a token, kThreads threads; thread i owns the 16-byte pieces i, i + kThreads,
// ... of the row and keeps them in registers between the two passes. Canonical order: a thread adds
// its squares in ascending order, a warp's threads are added by halving distances, warps in
// ascending order: by E alone. Roof: 8 bytes a value of DRAM or L2; at one token it is all latency,
// about 2 us on an H100. Limits: E a multiple of 8, at most kMostPieces * kThreads * 8 = 16,384.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kMostPieces = 8;

__device__ __forceinline__ float SumOverBlock(float sum, float* warp_sums) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    sum = __fadd_rn(sum, __shfl_xor_sync(0xFFFFFFFFU, sum, distance));
  }
  if (threadIdx.x % 32 == 0) warp_sums[threadIdx.x / 32] = sum;
  __syncthreads();
  float total = warp_sums[0];
#pragma unroll
  for (int warp = 1; warp < kWarps; ++warp) total = __fadd_rn(total, warp_sums[warp]);
  return total;
}

template <int kPieces, bool kAdd>
__global__ __launch_bounds__(kThreads) void AddRmsNormKernel(const uint4* partial, uint4* residual,
                                                             const uint4* weight, float eps,
                                                             int pieces, float width, uint4* out) {
  __shared__ float warp_sums[kWarps];
  AllowNext();
  uint4 scale[kPieces];
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kThreads;
    if (piece < pieces) scale[j] = weight[piece];
  }
  WaitForPrevious();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * pieces;
  Eight values[kPieces];
  float sum = 0.0F;
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kThreads;
    if (piece >= pieces) break;
    values[j] = Widen(residual[row + piece]);
    if constexpr (kAdd) {
      const Eight more = Widen(partial[row + piece]);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[j].v[i] = __fadd_rn(values[j].v[i], more.v[i]);
      const uint4 rounded = Narrow(values[j]);
      residual[row + piece] = rounded;
      values[j] = Widen(rounded);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i) sum = __fmaf_rn(values[j].v[i], values[j].v[i], sum);
  }
  const float mean = __fdiv_rn(SumOverBlock(sum, warp_sums), width);
  const float factor = __fdiv_rn(1.0F, __fsqrt_rn(__fadd_rn(mean, eps)));
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kThreads;
    if (piece >= pieces) break;
    const Eight w = Widen(scale[j]);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      values[j].v[i] = __fmul_rn(__fmul_rn(values[j].v[i], factor), w.v[i]);
    }
    out[row + piece] = Narrow(values[j]);
  }
}

template <int kPieces>
void LaunchShaped(const Tensor* partial, const Tensor& residual, const Tensor& weight, float eps,
                  const Tensor& out, cudaStream_t stream) {
  const auto kernel =
      partial != nullptr ? &AddRmsNormKernel<kPieces, true> : &AddRmsNormKernel<kPieces, false>;
  const std::int64_t width = residual.dim(1);
  Launch(kernel, {.grid = dim3(static_cast<unsigned>(residual.dim(0))), .block = dim3(kThreads)},
         stream, static_cast<const uint4*>(partial != nullptr ? partial->data : nullptr),
         static_cast<uint4*>(residual.data), static_cast<const uint4*>(weight.data), eps,
         static_cast<int>(width / 8), static_cast<float>(width), static_cast<uint4*>(out.data));
}

}  // namespace

void LaunchAddRmsNorm(const Tensor* partial, const Tensor& residual, const Tensor& weight,
                      float eps, const Tensor& out, cudaStream_t stream) {
  const std::int64_t width = residual.dim(1);
  Check(residual.rank == 2 && residual.dtype == DType::kBf16 && out.dtype == DType::kBf16 &&
            out.size() == residual.size() && weight.size() == width,
        "residual, out are bf16 [T, E], weight bf16 [E]");
  Check(partial == nullptr || partial->size() == residual.size(), "partial is bf16 [T, E]");
  Check(width % 8 == 0 && width <= kMostPieces * kThreads * 8, "E is a multiple of 8, <= 16,384");
  const std::int64_t pieces = (width / 8 + kThreads - 1) / kThreads;
  if (pieces == 1) return LaunchShaped<1>(partial, residual, weight, eps, out, stream);
  if (pieces == 2) return LaunchShaped<2>(partial, residual, weight, eps, out, stream);
  if (pieces <= 4) return LaunchShaped<4>(partial, residual, weight, eps, out, stream);
  return LaunchShaped<kMostPieces>(partial, residual, weight, eps, out, stream);
}

}  // namespace thinkwire::worker::kernels
