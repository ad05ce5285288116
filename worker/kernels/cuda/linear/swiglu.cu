#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/bf16_pieces.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/swiglu.cuh"
#include "worker/kernels/cuda/linear/swiglu.h"

// out = silu(gate) * up after a product that could not do it itself: 16 bytes of gates and 16 of
// ups lie side by side, one thread turns them into 16 bytes. Reads 4 and writes 2 bytes a feature.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kThreads = 256;

__global__ __launch_bounds__(kThreads) void SwiGluKernel(const uint4* gate_up, std::int64_t pieces,
                                                         uint4* out) {
  AllowNext();
  WaitForPrevious();
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= pieces) return;
  const Eight gate = Widen(gate_up[2 * i]);
  const Eight up = Widen(gate_up[2 * i + 1]);
  Eight result;
#pragma unroll
  for (int j = 0; j < 8; ++j) result.v[j] = __bfloat162float(SwiGlu(gate.v[j], up.v[j]));
  out[i] = Narrow(result);
}

}  // namespace

void LaunchSwiGlu(const Tensor& gate_up, const Tensor& out, cudaStream_t stream) {
  Check(gate_up.dtype == DType::kBf16 && out.dtype == DType::kBf16 &&
            gate_up.size() == 2 * out.size() && out.dim(1) % kHalfTile == 0,
        "gate_up is bf16 [T, 2F] for out bf16 [T, F], F a multiple of 8");
  const std::int64_t pieces = out.size() / 8;
  Launch(&SwiGluKernel,
         {.grid = dim3(static_cast<unsigned>((pieces + kThreads - 1) / kThreads)),
          .block = dim3(kThreads)},
         stream, static_cast<const uint4*>(gate_up.data), pieces, static_cast<uint4*>(out.data));
}

}  // namespace thinkwire::worker::kernels
