#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/bf16_pieces.cuh"
#include "worker/kernels/cuda/kv_block.cuh"
#include "worker/kernels/cuda/launch.cuh"
#include "worker/kernels/cuda/token_ops.h"

// From the sums of the QKV product to rotated queries and to keys and values in their blocks:
//   v              = bf16(sum + bias)
//   rotated[i]     = bf16(fma(-v[i + 64], sin, v[i] * cos))
//   rotated[i + 64] = bf16(fma(v[i], sin, v[i + 64] * cos)),  i < 64
//
// Mapping: one warp a token and head (H query heads, then K key heads, then K value heads); a lane
// owns elements 2 l, 2 l + 1 and the two 64 further. Bytes: 4 read and 2 written a value.
// Limits: D = 128; block layout as kv_block.cuh has it.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;
constexpr int kHalf = kHeadDim / 2;

struct Cache {
  __nv_bfloat16* keys;
  __nv_bfloat16* values;
  int num_kv_heads;
  int block_tokens;
};

__device__ __forceinline__ float2 RoundedSum(const float* sums, const __nv_bfloat16* bias, int i) {
  float2 v = *reinterpret_cast<const float2*>(sums + i);
  if (bias != nullptr) {
    const float2 b = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162*>(bias + i));
    v = make_float2(__fadd_rn(v.x, b.x), __fadd_rn(v.y, b.y));
  }
  return __bfloat1622float2(__floats2bfloat162_rn(v.x, v.y));
}

__device__ __forceinline__ void StorePair(__nv_bfloat16* to, float2 v) {
  *reinterpret_cast<std::uint32_t*>(to) = PackBf16(v.x, v.y);
}

__global__ __launch_bounds__(32 * kWarps) void RopeWriteKvKernel(
    const float* sums, const __nv_bfloat16* bias, const float* rope, const BatchView batch,
    const Cache cache, int num_heads, __nv_bfloat16* q) {
  AllowNext();
  const int all_heads = num_heads + 2 * cache.num_kv_heads;
  const int head = static_cast<int>(blockIdx.y) * kWarps + static_cast<int>(threadIdx.x) / 32;
  const int token = static_cast<int>(blockIdx.x);
  const int i = static_cast<int>(threadIdx.x) % 32 * 2;
  WaitForPrevious();
  const std::int32_t seq = batch.token_seq[token];
  if (head >= all_heads || seq < 0) return;
  const int position = batch.positions[token];
  sums += static_cast<std::int64_t>(token) * all_heads * kHeadDim + head * kHeadDim;
  if (bias != nullptr) bias += head * kHeadDim;
  float2 low = RoundedSum(sums, bias, i);
  float2 high = RoundedSum(sums, bias, i + kHalf);
  if (head < num_heads + cache.num_kv_heads) {
    const float* row = rope + static_cast<std::int64_t>(position) * kHeadDim;
    const float2 cosine = *reinterpret_cast<const float2*>(row + i);
    const float2 sine = *reinterpret_cast<const float2*>(row + kHalf + i);
    const float2 v = low;
    low = make_float2(__fmaf_rn(-high.x, sine.x, __fmul_rn(v.x, cosine.x)),
                      __fmaf_rn(-high.y, sine.y, __fmul_rn(v.y, cosine.y)));
    high = make_float2(__fmaf_rn(v.x, sine.x, __fmul_rn(high.x, cosine.x)),
                       __fmaf_rn(v.y, sine.y, __fmul_rn(high.y, cosine.y)));
  }
  if (head < num_heads) {
    q += (static_cast<std::int64_t>(token) * num_heads + head) * kHeadDim;
    StorePair(q + i, low);
    StorePair(q + i + kHalf, high);
    return;
  }
  const bool is_key = head < num_heads + cache.num_kv_heads;
  const int kv_head = head - num_heads - (is_key ? 0 : cache.num_kv_heads);
  const std::int64_t entry = static_cast<std::int64_t>(batch.seq_slot[seq]) * batch.max_blocks +
                             position / cache.block_tokens;
  const int offset = position % cache.block_tokens;
  __nv_bfloat16* to = (is_key ? cache.keys : cache.values) +
                      KvTokenOffset(batch.block_tables[entry], cache.num_kv_heads, kv_head,
                                    cache.block_tokens, offset);
  StorePair(to + KvPiece(i / 8, offset) * 8 + i % 8, low);
  StorePair(to + KvPiece((i + kHalf) / 8, offset) * 8 + i % 8, high);
}

}  // namespace

void LaunchRopeWriteKv(const Tensor& sums, const void* bias, const Tensor& rope,
                       const BatchView& batch, const KvLayer& kv, const Tensor& q,
                       cudaStream_t stream) {
  const int kv_heads = kv.num_kv_heads;
  const int heads = static_cast<int>(sums.dim(1) / kHeadDim) - 2 * kv_heads;
  Check(kv.head_dim == kHeadDim && kv.block_tokens % 16 == 0, "D is 128, B a multiple of 16");
  Check(heads > 0 && sums.dim(1) == (heads + 2 * kv_heads) * kHeadDim &&
            sums.dtype == DType::kF32 && sums.dim(0) == batch.num_tokens,
        "sums are f32 [T, (H + 2K) * D]");
  Check(q.dtype == DType::kBf16 && q.size() == std::int64_t{batch.num_tokens} * heads * kHeadDim,
        "q is bf16 [T, H, D]");
  Check(rope.rank == 2 && rope.dtype == DType::kF32 && rope.dim(1) == kHeadDim,
        "rope is f32 [positions, D]");
  const unsigned groups = static_cast<unsigned>((heads + 2 * kv_heads + kWarps - 1) / kWarps);
  Launch(
      &RopeWriteKvKernel,
      {.grid = dim3(static_cast<unsigned>(batch.num_tokens), groups), .block = dim3(32 * kWarps)},
      stream, sums.as<float>(), static_cast<const __nv_bfloat16*>(bias), rope.as<float>(), batch,
      Cache{static_cast<__nv_bfloat16*>(kv.keys.data), static_cast<__nv_bfloat16*>(kv.values.data),
            kv_heads, kv.block_tokens},
      heads, static_cast<__nv_bfloat16*>(q.data));
}

}  // namespace thinkwire::worker::kernels
