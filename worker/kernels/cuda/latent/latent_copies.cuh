#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/cuda/device/async_copy.cuh"
#include "worker/kernels/cuda/device/barrier.cuh"
#include "worker/kernels/cuda/latent/latent_args.h"
#include "worker/kernels/cuda/latent/latent_state.cuh"

// What a block of latent attention's kernel brings to shared memory for 32 heads of one token.
namespace thinkwire::worker::kernels {

class LatentCopies {
 public:
  __device__ __forceinline__ LatentCopies(const LatentArgs& args, unsigned char* shared, int token,
                                          int group)
      : args_(args),
        shared_(SharedAddress(shared)),
        token_(token),
        first_head_(group * kLatentHeads),
        position_(args.batch.positions[token]) {
    const std::int64_t slot = args.batch.seq_slot[args.batch.token_seq[token]];
    blocks_ = args.batch.block_tables + slot * args.batch.max_blocks;
  }

  __device__ __forceinline__ int position() const { return position_; }

  // A thread copies an eighth of the pieces of one head, or of one key.
  __device__ __forceinline__ void CopyQueries() const {
    const int head = static_cast<int>(threadIdx.x / kCopiers);
    const bool is_there = first_head_ + head < args_.heads;
    const std::int64_t row = static_cast<std::int64_t>(token_) * args_.heads + first_head_;
    CopyRow(shared_ + head * kLatentRow, args_.queries + (row + (is_there ? head : 0)) * kLatentKey,
            is_there);
  }

  // The KV block of the thread's key of a tile: asked for a tile ahead of the key.
  __device__ __forceinline__ int BlockOf(int tile) const {
    return blocks_[PositionIn(tile) / args_.block_tokens];
  }
  __device__ __forceinline__ void CopyTile(int tile, int block) const {
    const int key = static_cast<int>(threadIdx.x / kCopiers);
    const std::int64_t row = static_cast<std::int64_t>(block) * args_.block_tokens +
                             PositionIn(tile) % args_.block_tokens;
    CopyRow(shared_ + kLatentTileAt + tile % 2 * kLatentTileBytes + key * kLatentRow,
            args_.plane + row * kLatentKey, tile * kLatentTile + key <= position_);
  }

 protected:
  const LatentArgs& args_;
  const std::uint32_t shared_;
  const int token_;
  const int first_head_;
  const int position_;

 private:
  static constexpr int kCopiers = kLatentThreads / kLatentTile;
  static constexpr int kPieces = kLatentKey / 8;  // of 16 bytes in a key
  static_assert(kLatentHeads == kLatentTile && kPieces % kCopiers == 0, "equal shares");

  // That of the thread's key of a tile, or the last there is.
  __device__ __forceinline__ int PositionIn(int tile) const {
    return min(tile * kLatentTile + static_cast<int>(threadIdx.x / kCopiers), position_);
  }

  static __device__ __forceinline__ void CopyRow(std::uint32_t to, const __nv_bfloat16* from,
                                                 bool is_there) {
    const int first = static_cast<int>(threadIdx.x % kCopiers);
#pragma unroll
    for (int i = 0; i < kPieces; i += kCopiers) {
      CopyPiece(to + (first + i) * 16, from + (first + i) * 8, is_there);
    }
  }

  const std::int32_t* blocks_;
};

}  // namespace thinkwire::worker::kernels
