#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_fp8.cuh"
#include "worker/kernels/cuda/attention/kv_copy.cuh"
#include "worker/kernels/cuda/attention/prefill_ring.cuh"
#include "worker/kernels/cuda/attention/prefill_rows.cuh"
#include "worker/kernels/cuda/device/barrier.cuh"
#include "worker/kernels/cuda/device/shared_load.cuh"
#include "worker/kernels/cuda/device/warpgroup.cuh"

// What fills the ring of attention_prefill_wgmma.cu where keys and values are FP8: tensor cores
// take bf16 from shared memory, so four warps make it there of codes that the copy engine has
// brought, four tiles ahead.
//
// Eight lanes, which shared memory serves at once, have the four pieces of one half of two rows of
// codes whose places differ in bits 0 and 2. So what they read lies in different banks, and so does
// what they write: of each piece of sixteen codes two of eight bf16.
namespace thinkwire::worker::kernels {

inline constexpr int kStagedBytes = kStagedTiles * kTileBytes<Fp8Kv>;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

class PrefillWidener {
 public:
  // `staged` has kStagedBytes.
  __device__ PrefillWidener(const AttentionArgs& args, const PrefillShared<Fp8Kv>& shared,
                            std::uint32_t staged, const RowTile& tile, int kv_head,
                            int last_position)
      : args_(args),
        shared_(shared),
        staged_(staged),
        block_table_(args.block_tables + std::int64_t{args.seq_slot[tile.seq]} * args.max_blocks),
        kv_head_(kv_head),
        last_position_(last_position) {}

  // All threads of the group.
  __device__ void Run() {
    const bool copies = threadIdx.x % kGroupThreads < 32;
    const int items = 2 * (last_position_ / kSegmentKeys + 1);
    if (copies) {
      offset_ = Offset(0);
      for (int item = 0; item < min(items, kStagedTiles); ++item) Request(item);
    }
    for (int item = 0; item < items; ++item) {
      WaitBarrier(shared_.Staged(item % kStagedTiles), item / kStagedTiles & 1);
      shared_.WaitFree(item);
      Widen(staged_ + item % kStagedTiles * kTileBytes<Fp8Kv>, shared_.Tile(item));
      PublishToTensorCores();
      asm volatile("bar.sync %0, %1;" ::"n"(kWidenersBarrier), "n"(kGroupThreads) : "memory");
      if (threadIdx.x % kGroupThreads == 0) Arrive(shared_.Ready(item));
      if (copies && item + kStagedTiles < items) Request(item + kStagedTiles);
    }
  }

 private:
  static constexpr int kWidenersBarrier = 8;  // after those of the groups of rows

  // By one warp, items in order.
  __device__ void Request(int item) {
    const int pieces = NumPieces(item / 2, last_position_);
    const std::uint32_t barrier = shared_.Staged(item % kStagedTiles);
    BeginCopy<Fp8Kv>(barrier, pieces);
    CopyPieces<Fp8Kv>(item % 2 == 0 ? args_.keys : args_.values, offset_,
                      staged_ + item % kStagedTiles * kTileBytes<Fp8Kv>, barrier, pieces);
    if (item % 2 != 0) offset_ = Offset(item / 2 + 1);
  }
  __device__ std::int64_t Offset(int segment) const {
    return PieceOffset(args_, block_table_, kv_head_, segment, NumPieces(segment, last_position_));
  }

  // A whole tile, whatever lies where nothing was copied.
  __device__ static void Widen(std::uint32_t codes, std::uint32_t tile) {
    const std::uint32_t thread = threadIdx.x % kGroupThreads;
    const std::uint32_t pair = thread / 8;
    const std::uint32_t piece = thread % 4;  // of four in a half
    const std::uint32_t row = (pair / 4 * 8 + pair % 4) ^ (thread / 4 % 2 * 5);
    const std::uint32_t from = codes + row * Fp8Kv::kRowBytes + (piece ^ (row & 7)) * 16;
    const std::uint32_t to = tile + row * kHalfRowBytes + (2 * piece ^ (row & 7)) * 16;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      uint4 sixteen[kSegmentKeys / 32];
#pragma unroll
      for (int i = 0; i < kSegmentKeys / 32; ++i) {
        sixteen[i] = LoadShared16((from ^ (half * 64)) + i * 32 * Fp8Kv::kRowBytes);
      }
#pragma unroll
      for (int i = 0; i < kSegmentKeys / 32; ++i) {
        const std::uint32_t at = half * kHalfBytes + i * 32 * kHalfRowBytes;
        StoreWidened(sixteen[i], to + at, (to ^ 16) + at);
      }
    }
  }

  // Sixteen codes as two pieces of eight.
  __device__ static void StoreWidened(const uint4& codes, std::uint32_t first,
                                      std::uint32_t second) {
    uint4 low;
    uint4 high;
    Bf16FromCodes(codes.x, low.x, high.x);
    Bf16FromCodes(codes.y, low.y, high.y);
    Bf16FromCodes(codes.z, low.z, high.z);
    Bf16FromCodes(codes.w, low.w, high.w);
    StorePiece(first, low);
    StorePiece(second, high);
  }

  const AttentionArgs& args_;
  const PrefillShared<Fp8Kv>& shared_;
  const std::uint32_t staged_;
  const std::int32_t* const block_table_;
  const int kv_head_;
  const int last_position_;
  std::int64_t offset_ = 0;  // PieceOffset of the next item's segment
};

#endif

}  // namespace thinkwire::worker::kernels
