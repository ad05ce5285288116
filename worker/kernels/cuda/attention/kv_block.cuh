#pragma once

#include <cstdint>

// Layout of a KV block on CUDA, keys and values alike: bf16 [K, B, D], with the 16-byte pieces of
// each token's D elements permuted so that eight tokens' equal pieces lie in different banks of
// shared memory once a head's B tokens are copied there as they are (B * D * 2 contiguous bytes).
// D is 128 and B a multiple of 16: KvPiece depends on the token's place in its block alone.
namespace thinkwire::worker::kernels {

inline constexpr int kHeadDim = 128;
inline constexpr int kKvPieces = kHeadDim / 8;  // 16-byte pieces of 8 elements a token

// Where piece `piece`, in [0, 16), of the token at `offset` in its block is stored.
__host__ __device__ __forceinline__ constexpr int KvPiece(int piece, int offset) {
  return piece ^ (offset & 7);
}

// Elements from a plane's start to the first of token `offset` of `block` for `kv_head`.
__host__ __device__ __forceinline__ constexpr std::int64_t KvTokenOffset(
    std::int64_t block, int num_kv_heads, int kv_head, int block_tokens, int offset) {
  return ((block * num_kv_heads + kv_head) * block_tokens + offset) * kHeadDim;
}

}  // namespace thinkwire::worker::kernels
