#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/row_codes.cuh"
#include "worker/kernels/cuda/norm/rms_norm.h"
#include "worker/kernels/cuda/norm/row_norm.cuh"

// sum = bf16(residual + partial);
// out = bf16(sum / sqrt(mean(sum^2) + eps) * weight).
//
// Mapping and canonical order: one block a token, row_norm.cuh.
// Roof: 8 bytes a value of DRAM or L2; at one token it is all latency, about 2 us on an H100.
// Limits: E a multiple of 8, at most 16,384.
namespace thinkwire::worker::kernels {
namespace {

// What becomes of a row's normed pieces, a thread's own.
struct StoreNormed {
  uint4* out;

  template <int kPieces>
  __device__ __forceinline__ void operator()(const uint4 (&normed)[kPieces], int pieces) const {
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * pieces;
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
      if (piece < pieces) out[row + piece] = normed[j];
    }
  }
};

struct RoundNormed {
  uint2* codes;
  float* scales;

  template <int kPieces>
  __device__ __forceinline__ void operator()(const uint4 (&normed)[kPieces], int pieces) const {
    __shared__ std::uint32_t greatest[kRowWarps];
    const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * pieces;
    std::uint32_t most = 0;
#pragma unroll
    for (int j = 0; j < kPieces; ++j) most = GreatestOf(normed[j], most);
    const RowScale scale = RowScaleOf(GreatestOverBlock(most, greatest));
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
      if (piece < pieces) codes[row + piece] = CodesOf(normed[j], scale.inverse);
    }
    if (threadIdx.x == 0) scales[blockIdx.x] = scale.scale;
  }
};

template <int kPieces, bool kAdd, class Output>
__global__ __launch_bounds__(kRowThreads) void AddRmsNormKernel(const uint4* partial,
                                                                const uint4* residual, uint4* sum,
                                                                const uint4* weight, float eps,
                                                                int pieces, float width,
                                                                Output output) {
  __shared__ float warp_sums[kRowWarps];
  AllowNext();
  uint4 scale[kPieces];
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece < pieces) scale[j] = weight[piece];
  }
  WaitForPrevious();
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * pieces;
  Eight values[kPieces];
  float square_sum = 0.0F;
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece >= pieces) break;
    values[j] = Widen(residual[row + piece]);
    if constexpr (kAdd) {
      const uint4 rounded = Narrow(Add(values[j], Widen(partial[row + piece])));
      sum[row + piece] = rounded;
      values[j] = Widen(rounded);
    }
    square_sum = AddSquares(values[j], square_sum);
  }
  const float factor = NormFactor(SumOverBlock(square_sum, warp_sums), width, eps);
  uint4 normed[kPieces] = {};
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece < pieces) normed[j] = Normed(values[j], factor, scale[j]);
  }
  output(normed, pieces);
}

template <int kPieces, class Output>
void LaunchShaped(const ResidualNorm& norm, const Output& output, cudaStream_t stream) {
  const auto kernel = norm.partial.data != nullptr ? &AddRmsNormKernel<kPieces, true, Output>
                                                   : &AddRmsNormKernel<kPieces, false, Output>;
  const std::int64_t width = norm.out.dim(1);
  Launch(kernel, {.grid = dim3(static_cast<unsigned>(norm.out.dim(0))), .block = dim3(kRowThreads)},
         stream, static_cast<const uint4*>(norm.partial.data),
         static_cast<const uint4*>(norm.residual.data), static_cast<uint4*>(norm.sum.data),
         static_cast<const uint4*>(norm.weight.data), norm.eps, static_cast<int>(width / 8),
         static_cast<float>(width), output);
}

template <class Output>
void LaunchNorm(const ResidualNorm& norm, const Output& output, cudaStream_t stream) {
  CheckResidualNorm(norm);
  const std::int64_t pieces = (norm.out.dim(1) / 8 + kRowThreads - 1) / kRowThreads;
  if (pieces == 1) return LaunchShaped<1>(norm, output, stream);
  if (pieces == 2) return LaunchShaped<2>(norm, output, stream);
  if (pieces <= 4) return LaunchShaped<4>(norm, output, stream);
  return LaunchShaped<kMostRowPieces>(norm, output, stream);
}

}  // namespace

void CheckResidualNorm(const ResidualNorm& norm) {
  const auto is_act = [&](const Tensor& t) {
    return t.dtype == DType::kBf16 && t.size() == norm.out.size();
  };
  Check(norm.out.rank == 2 && is_act(norm.out) && is_act(norm.residual) &&
            norm.weight.size() == norm.out.dim(1),
        "residual, out are bf16 [T, E], weight bf16 [E]");
  Check(norm.partial.data == nullptr || (is_act(norm.partial) && is_act(norm.sum)),
        "partial, sum are bf16 [T, E]");
  const std::int64_t width = norm.out.dim(1);
  Check(width % 8 == 0 && width <= kMostRowPieces * kRowThreads * 8,
        "E is a multiple of 8, <= 16,384");
}

void LaunchAddRmsNorm(const ResidualNorm& norm, cudaStream_t stream) {
  LaunchNorm(norm, StoreNormed{static_cast<uint4*>(norm.out.data)}, stream);
}

void LaunchRoundedNorm(const ResidualNorm& norm, void* codes, float* scales, cudaStream_t stream) {
  LaunchNorm(norm, RoundNormed{static_cast<uint2*>(codes), scales}, stream);
}

}  // namespace thinkwire::worker::kernels
