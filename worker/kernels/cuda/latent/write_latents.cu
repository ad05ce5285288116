#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/bf16_pieces.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/latent/latent_ops.h"
#include "worker/kernels/cuda/norm/row_norm.cuh"

// A step's keys to their blocks, one warp a token: the latent's norm, each lane adding up the
// squares of pieces `lane` and `lane + 32`, then lanes by halving distances; and the rotated part,
// a pair a lane. Queries rotate by a few blocks a token. All far below a microsecond of DRAM time
// at one token; roundings as backend.h has them, one at the end.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kPieces = kLatentWidth / 8;  // of 16 bytes
constexpr int kHalf = kLatentRotated / 2;  // pairs
constexpr int kKey = kLatentWidth + kLatentRotated;
constexpr int kRotateThreads = 256;
constexpr int kRotateBlocks = 4;  // a token
static_assert(kPieces == 64 && kHalf == 32, "two pieces and one pair a lane");

struct Rotation {
  const float* table;
  bool is_interleaved;
};

// Pair i of `from` [R], turned by `position`, to `to`.
__device__ __forceinline__ void RotatePair(const __nv_bfloat16* from, const Rotation& rotation,
                                           int position, int i, __nv_bfloat16* to) {
  const float* const angles = rotation.table + static_cast<std::int64_t>(position) * kLatentRotated;
  const float a = __bfloat162float(rotation.is_interleaved ? from[2 * i] : from[i]);
  const float b = __bfloat162float(rotation.is_interleaved ? from[2 * i + 1] : from[i + kHalf]);
  const float cosine = angles[i];
  const float sine = angles[i + kHalf];
  to[i] = __float2bfloat16_rn(__fsub_rn(__fmul_rn(a, cosine), __fmul_rn(b, sine)));
  to[i + kHalf] = __float2bfloat16_rn(__fadd_rn(__fmul_rn(b, cosine), __fmul_rn(a, sine)));
}

__global__ __launch_bounds__(32) void WriteLatentsKernel(const __nv_bfloat16* rows,
                                                         const uint4* weight, float eps,
                                                         Rotation rotation, BatchView batch,
                                                         int block_tokens, __nv_bfloat16* plane) {
  WaitForPrevious();
  AllowNext();
  const int token = static_cast<int>(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x);
  const __nv_bfloat16* const from = rows + static_cast<std::int64_t>(token) * kKey;
  const auto* const pieces = reinterpret_cast<const uint4*>(from);
  const Eight low = Widen(pieces[lane]);
  const Eight high = Widen(pieces[lane + 32]);
  const int sequence = batch.token_seq[token];
  if (sequence < 0) return;
  const int position = batch.positions[token];
  const std::int64_t slot = batch.seq_slot[sequence];
  const std::int64_t block = batch.block_tables[slot * batch.max_blocks + position / block_tokens];
  __nv_bfloat16* const to = plane + (block * block_tokens + position % block_tokens) * kKey;
  float sum = AddSquares(high, AddSquares(low, 0.0F));
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    sum = __fadd_rn(sum, __shfl_xor_sync(0xFFFFFFFFU, sum, distance));
  }
  const float factor = NormFactor(sum, static_cast<float>(kLatentWidth), eps);
  auto* const written = reinterpret_cast<uint4*>(to);
  written[lane] = Normed(low, factor, weight[lane]);
  written[lane + 32] = Normed(high, factor, weight[lane + 32]);
  RotatePair(from + kLatentWidth, rotation, position, lane, to + kLatentWidth);
}

__global__ __launch_bounds__(kRotateThreads) void RotateQueriesKernel(
    const __nv_bfloat16* q, int plain, int heads, Rotation rotation, const std::int32_t* positions,
    const std::int32_t* token_seq, __nv_bfloat16* out) {
  WaitForPrevious();
  AllowNext();
  const auto token = static_cast<std::int64_t>(blockIdx.x);
  const bool is_padding = token_seq[token] < 0;
  const int position = is_padding ? 0 : positions[token];
  const int query = plain + kLatentRotated;
  const int first = static_cast<int>(blockIdx.y * kRotateThreads + threadIdx.x);
  for (int i = first; i < heads * kHalf; i += kRotateThreads * kRotateBlocks) {
    const std::int64_t row = token * heads + i / kHalf;
    RotatePair(q + row * query + plain, rotation, position, i % kHalf,
               out + row * kKey + kLatentWidth);
  }
}

Rotation RotationOf(const PairRotation& rotation) {
  Check(rotation.table.dtype == DType::kF32 && rotation.table.dim(1) == kLatentRotated,
        "rotations are f32 [positions, 64]");
  return {rotation.table.as<float>(), rotation.is_interleaved};
}

}  // namespace

void LaunchWriteLatents(const LatentKeys& keys, const PairRotation& rotation,
                        const BatchView& batch, const KvLayer& kv, cudaStream_t stream) {
  if (batch.num_tokens == 0) return;
  Check(keys.rows.dtype == DType::kBf16 && keys.rows.dim(0) == batch.num_tokens &&
            keys.rows.dim(1) == kKey && keys.norm.size() == kLatentWidth,
        "keys are bf16 [T, 576], their norm bf16 [512]");
  Check(kv.planes[0].dtype == DType::kBf16 && kv.block_tokens > 0, "a plane of latents is bf16");
  Launch(&WriteLatentsKernel,
         {.grid = dim3(static_cast<unsigned>(batch.num_tokens)), .block = dim3(32)}, stream,
         keys.rows.as<__nv_bfloat16>(), static_cast<const uint4*>(keys.norm.data), keys.eps,
         RotationOf(rotation), batch, kv.block_tokens, kv.planes[0].as<__nv_bfloat16>());
}

void LaunchRotateQueries(const Tensor& q, const LatentShape& shape, const PairRotation& rotation,
                         const BatchView& batch, const Tensor& out, cudaStream_t stream) {
  Launch(
      &RotateQueriesKernel,
      {.grid = dim3(static_cast<unsigned>(q.dim(0)), kRotateBlocks), .block = dim3(kRotateThreads)},
      stream, q.as<__nv_bfloat16>(), static_cast<int>(shape.plain), static_cast<int>(shape.heads),
      RotationOf(rotation), batch.positions, batch.token_seq, out.as<__nv_bfloat16>());
}

}  // namespace thinkwire::worker::kernels
