#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/e4m3.h"
#include "worker/kernels/kv.h"
#include "worker/kernels/tensor.h"

// What follows the sums of a QKV product:
//   v               = bf16(sum + bias)
//   rotated[i]      = bf16(fma(-v[i + 64], sin, v[i] * cos))
//   rotated[i + 64] = bf16(fma(v[i], sin, v[i + 64] * cos)),  i < 64, of queries and keys
// and where the results go. D = 128; keys and values lie as kv_block.cuh has it, those in FP8 as
// e4m3(x * (1 / scale)) of the same x.
namespace thinkwire::worker::kernels {

struct QkvTarget {
  const __nv_bfloat16* bias;  // [(H + 2K) * D] in the order of the weight's rows, or null
  const float* rope;          // [positions, D]
  BatchView batch;
  __nv_bfloat16* q;  // [T, H, D]
  void* keys;
  void* values;
  int num_heads;     // H
  int num_kv_heads;  // K
  int block_tokens;  // B
  bool fp8;          // what keys and values are: e4m3, else bf16
  float inverse_key_scale;
  float inverse_value_scale;
};

// Checks the shapes that a product of `rows` rows and `tokens` tokens must fit.
QkvTarget MakeQkvTarget(std::int64_t rows, std::int64_t tokens, const void* bias,
                        const Tensor& rope, const BatchView& batch, const KvLayer& kv,
                        const Tensor& q);

// Where a token's keys and values go; block -1: nowhere, the token is padding.
struct TokenPlace {
  int position;
  int block;
  int offset;  // in the block
};

__device__ __forceinline__ TokenPlace PlaceOf(const QkvTarget& target, int token) {
  const BatchView& batch = target.batch;
  const std::int32_t seq = batch.token_seq[token];
  if (seq < 0) return {0, -1, 0};
  const int position = batch.positions[token];
  const std::int64_t entry = static_cast<std::int64_t>(batch.seq_slot[seq]) * batch.max_blocks +
                             position / target.block_tokens;
  return {position, batch.block_tables[entry], position % target.block_tokens};
}

__device__ __forceinline__ float RoundToBf16(float x) {
  return __bfloat162float(__float2bfloat16_rn(x));
}

// Elements i and i + 64 of a head that begins at `token`.
template <class Kv>
__device__ __forceinline__ void StoreKept(typename Kv::Element* token, int offset, int i,
                                          typename Kv::Element low, typename Kv::Element high) {
  token[KvElement<Kv>(i, offset)] = low;
  token[KvElement<Kv>(i + kHeadDim / 2, offset)] = high;
}

// By what elements i and i + 64 of a head rotate.
struct RopeAngle {
  float cosine;
  float sine;
};

__device__ __forceinline__ RopeAngle AngleOf(const QkvTarget& target, const TokenPlace& place,
                                             int i) {
  const float* row = target.rope + static_cast<std::int64_t>(place.position) * kHeadDim;
  return {row[i], row[kHeadDim / 2 + i]};
}

// Whether a head is one of queries or keys, which rotate.
__device__ __forceinline__ bool Rotates(const QkvTarget& target, int head) {
  return head < target.num_heads + target.num_kv_heads;
}

// Elements i and i + 64 of one head: of queries first, then keys, then values. `angle` is read if
// the head rotates.
__device__ __forceinline__ void StoreQkvPair(const QkvTarget& target, int token,
                                             const TokenPlace& place, int head, int i, float low,
                                             float high, const RopeAngle& angle) {
  constexpr int kHalf = kHeadDim / 2;
  low = RoundToBf16(low);
  high = RoundToBf16(high);
  const int kv_head = head - target.num_heads;
  if (Rotates(target, head)) {
    const float v = low;
    low = __fmaf_rn(-high, angle.sine, __fmul_rn(v, angle.cosine));
    high = __fmaf_rn(v, angle.sine, __fmul_rn(high, angle.cosine));
  }
  if (kv_head < 0) {
    __nv_bfloat16* to =
        target.q + (static_cast<std::int64_t>(token) * target.num_heads + head) * kHeadDim + i;
    to[0] = __float2bfloat16_rn(low);
    to[kHalf] = __float2bfloat16_rn(high);
    return;
  }
  const bool is_key = kv_head < target.num_kv_heads;
  void* const plane = is_key ? target.keys : target.values;
  const std::int64_t at = KvTokenOffset(place.block, target.num_kv_heads,
                                        is_key ? kv_head : kv_head - target.num_kv_heads,
                                        target.block_tokens, place.offset);
  const __nv_bfloat16 kept_low = __float2bfloat16_rn(low);
  const __nv_bfloat16 kept_high = __float2bfloat16_rn(high);
  if (!target.fp8) {
    StoreKept<Bf16Kv>(static_cast<__nv_bfloat16*>(plane) + at, place.offset, i, kept_low,
                      kept_high);
    return;
  }
  const float inverse = is_key ? target.inverse_key_scale : target.inverse_value_scale;
  StoreKept<Fp8Kv>(static_cast<std::uint8_t*>(plane) + at, place.offset, i,
                   E4m3FromFloat<void>(__fmul_rn(__bfloat162float(kept_low), inverse)),
                   E4m3FromFloat<void>(__fmul_rn(__bfloat162float(kept_high), inverse)));
}

__device__ __forceinline__ void StoreQkvPair(const QkvTarget& target, int token,
                                             const TokenPlace& place, int head, int i, float low,
                                             float high) {
  RopeAngle angle = {};
  if (Rotates(target, head)) angle = AngleOf(target, place, i);
  StoreQkvPair(target, token, place, head, i, low, high, angle);
}

}  // namespace thinkwire::worker::kernels
