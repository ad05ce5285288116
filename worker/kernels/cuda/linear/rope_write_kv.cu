#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/rope.cuh"
#include "worker/kernels/cuda/linear/rope_write_kv.h"
#include "worker/kernels/cuda/linear/row_order.h"

// rope.cuh's formula after a product that could not do it itself.
//
// Mapping: one warp a token and head; lane l owns the pairs l and l + 32.
// Bytes: 4 read and 2 written a value.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;

__global__ __launch_bounds__(32 * kWarps) void RopeWriteKvKernel(
    const float* sums, const __grid_constant__ QkvTarget target) {
  AllowNext();
  const int all_heads = target.num_heads + 2 * target.num_kv_heads;
  const int head = static_cast<int>(blockIdx.y) * kWarps + static_cast<int>(threadIdx.x) / 32;
  const int token = static_cast<int>(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  WaitForPrevious();
  if (head >= all_heads) return;
  const TokenPlace place = PlaceOf(target, token);
  if (place.block < 0) return;
  sums += static_cast<std::int64_t>(token) * all_heads * kHeadDim;
#pragma unroll
  for (int i = lane; i < kHeadDim / 2; i += 32) {
    const int at = head * kHeadDim + i / kHalfTile * 2 * kHalfTile + i % kHalfTile;
    float low = sums[at];
    float high = sums[at + kHalfTile];
    if (target.bias != nullptr) {
      low = __fadd_rn(low, __bfloat162float(target.bias[at]));
      high = __fadd_rn(high, __bfloat162float(target.bias[at + kHalfTile]));
    }
    StoreQkvPair(target, token, place, head, i, low, high);
  }
}

}  // namespace

QkvTarget MakeQkvTarget(std::int64_t rows, std::int64_t tokens, const void* bias,
                        const Tensor& rope, const BatchView& batch, const KvLayer& kv,
                        const Tensor& q) {
  const int kv_heads = kv.num_kv_heads;
  const int heads = static_cast<int>(rows / kHeadDim) - 2 * kv_heads;
  Check(kv.head_dim == kHeadDim && kv.block_tokens % 16 == 0, "D is 128, B a multiple of 16");
  Check(heads > 0 && rows == (heads + 2 * kv_heads) * kHeadDim && tokens == batch.num_tokens,
        "qkv has (H + 2K) * D rows, x T tokens");
  Check(q.dtype == DType::kBf16 && q.size() == tokens * heads * kHeadDim, "q is bf16 [T, H, D]");
  Check(rope.rank == 2 && rope.dtype == DType::kF32 && rope.dim(1) == kHeadDim,
        "rope is f32 [positions, D]");
  const DType kept = kv.keys().dtype;
  Check((kept == DType::kBf16 || kept == DType::kE4m3) && kv.values().dtype == kept,
        "CUDA keeps keys and values in bf16 or e4m3");
  return {.bias = static_cast<const __nv_bfloat16*>(bias),
          .rope = rope.as<float>(),
          .batch = batch,
          .q = static_cast<__nv_bfloat16*>(q.data),
          .keys = kv.keys().data,
          .values = kv.values().data,
          .num_heads = heads,
          .num_kv_heads = kv_heads,
          .block_tokens = kv.block_tokens,
          .fp8 = kept == DType::kE4m3,
          .inverse_key_scale = 1.0F / kv.scales.keys,
          .inverse_value_scale = 1.0F / kv.scales.values};
}

void LaunchRopeWriteKv(const Tensor& sums, const void* bias, const Tensor& rope,
                       const BatchView& batch, const KvLayer& kv, const Tensor& q,
                       cudaStream_t stream) {
  Check(sums.rank == 2 && sums.dtype == DType::kF32, "sums are f32 [T, (H + 2K) * D]");
  const QkvTarget target = MakeQkvTarget(sums.dim(1), sums.dim(0), bias, rope, batch, kv, q);
  const auto heads = static_cast<unsigned>(target.num_heads + 2 * target.num_kv_heads);
  Launch(&RopeWriteKvKernel,
         {.grid = dim3(static_cast<unsigned>(sums.dim(0)), (heads + kWarps - 1) / kWarps),
          .block = dim3(32 * kWarps)},
         stream, sums.as<float>(), target);
}

}  // namespace thinkwire::worker::kernels
