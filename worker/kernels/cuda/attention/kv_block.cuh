#pragma once

#include <cuda_bf16.h>

#include <cstdint>

// Layout of a KV block on CUDA, keys and values alike: bf16 or e4m3 [K, B, D], with the 16-byte
// pieces of each token's D elements permuted so that eight tokens' equal pieces lie in different
// banks of shared memory once a head's B tokens are copied there as they are (contiguous bytes).
// D is 128 and B a multiple of 16: KvPiece depends on the token's place in its block alone.
//
// A piece holds eight bf16 elements in order, or sixteen of e4m3 with the second eight between the
// first: 0, 8, 1, 9, ... So two bytes are what eight columns and the next eight have of a k or of a
// key, and the fragments that tensor cores read in pairs of bytes come apart into two
// (attention_fp8.cuh).
namespace thinkwire::worker::kernels {

inline constexpr int kHeadDim = 128;
inline constexpr int kKvPieces = kHeadDim / 8;  // 16-byte pieces of 8 elements a token

// How keys and values are kept, as what kernels are instantiated for.
struct Bf16Kv {
  using Element = __nv_bfloat16;
  static constexpr int kRowBytes = 2 * kHeadDim;  // a token's, of one head
};
struct Fp8Kv {
  using Element = std::uint8_t;
  static constexpr int kRowBytes = kHeadDim;
};

// Where piece `piece` of the token at `offset` in its block is stored.
__host__ __device__ __forceinline__ constexpr int KvPiece(int piece, int offset) {
  return piece ^ (offset & 7);
}

// Where element d of the token at `offset` in its block is stored, counted from the token's first.
template <class Kv>
__host__ __device__ __forceinline__ constexpr int KvElement(int d, int offset) {
  if constexpr (Kv::kRowBytes == kHeadDim) {
    return KvPiece(d / 16, offset) * 16 + d % 8 * 2 + d % 16 / 8;
  } else {
    return KvPiece(d / 8, offset) * 8 + d % 8;
  }
}

// Elements from a plane's start to the first of token `offset` of `block` for `kv_head`.
__host__ __device__ __forceinline__ constexpr std::int64_t KvTokenOffset(
    std::int64_t block, int num_kv_heads, int kv_head, int block_tokens, int offset) {
  return ((block * num_kv_heads + kv_head) * block_tokens + offset) * kHeadDim;
}

}  // namespace thinkwire::worker::kernels
