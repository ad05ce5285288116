#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/attention/kv_copy.cuh"
#include "worker/kernels/cuda/attention/prefill_rows.cuh"
#include "worker/kernels/cuda/device/barrier.cuh"
#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/warpgroup.cuh"

// What a block of attention_prefill_wgmma.cu, which explains it, keeps in shared memory, and the
// warp that fills it.
namespace thinkwire::worker::kernels {

inline constexpr int kGroupThreads = 128;
inline constexpr int kGroupRows = 64;
// Tiles of the ring, and of codes that come before them: FP8 has the room of one for two of codes
// and two more. Its tiles are written from near by, so that three are enough.
template <class Kv>
inline constexpr int kRingTiles = Kv::kRowBytes == kHeadDim ? 3 : 4;
inline constexpr int kStagedTiles = 4;
inline constexpr int kMostRingTiles = kRingTiles<Bf16Kv>;
inline constexpr int kHalves = 2;  // of a row's columns, one below the other in shared memory
inline constexpr int kHalfColumns = kHeadDim / kHalves;
inline constexpr int kHalfRowBytes = kHalfColumns * 2;
inline constexpr int kRingTileBytes = kTileBytes<Bf16Kv>;
inline constexpr int kHalfBytes = kRingTileBytes / kHalves;  // of a tile of keys or values
inline constexpr int kOnesBytes = 16 * kHalfRowBytes;        // of a k16 step
inline constexpr int kSharedAlignment = 1024;

struct PrefillBarriers {
  std::uint64_t ready[kMostRingTiles];
  std::uint64_t free[kMostRingTiles];
  std::uint64_t end;  // the last values are there, with zeros behind them; not in FP8
  std::uint64_t staged[kStagedTiles];  // codes of a tile are there (prefill_widen.cuh)
};

inline constexpr int kBarrierBytes = 1024;  // so that what follows is aligned
static_assert(sizeof(PrefillBarriers) <= kBarrierBytes && kOnesBytes % kSharedAlignment == 0);

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A block's shared memory: a ring of tiles, ones, barriers, queries. Tiles hold keys and values of
// segments in turn: item 2 j keys of segment j, 2 j + 1 values.
template <class Kv>
class PrefillShared {
 public:
  __device__ explicit PrefillShared(std::byte* shared)
      : tiles_((SharedAddress(shared) + kSharedAlignment - 1) & ~(kSharedAlignment - 1U)) {}

  // All threads, before they meet; `groups` of the block have rows.
  __device__ void Init(int groups) const {
    if (threadIdx.x == 0) InitBarriers(groups);
    if (threadIdx.x < kOnesBytes / 16) {
      constexpr unsigned kOnes = 0x3F803F80;
      StorePiece(Ones() + threadIdx.x * 16, make_uint4(kOnes, kOnes, kOnes, kOnes));
      PublishToTensorCores();
    }
  }
  __device__ std::uint32_t Tile(int item) const { return tiles_ + item % kTiles * kRingTileBytes; }
  __device__ std::uint32_t Ones() const { return tiles_ + kTiles * kRingTileBytes; }
  __device__ std::uint32_t Queries() const { return Ones() + kOnesBytes + kBarrierBytes; }
  __device__ std::uint32_t Ready(int item) const { return barriers() + item % kTiles * 8; }
  __device__ std::uint32_t Free(int item) const {
    return barriers() + (kMostRingTiles + item % kTiles) * 8;
  }
  __device__ std::uint32_t End() const { return barriers() + 2 * kMostRingTiles * 8; }
  __device__ std::uint32_t Staged(int place) const { return End() + (1 + place) * 8; }
  __device__ void WaitReady(int item) const { WaitBarrier(Ready(item), item / kTiles & 1); }
  __device__ void WaitFree(int item) const {
    if (item >= kTiles) WaitBarrier(Free(item), (item / kTiles & 1) ^ 1);
  }
  // By each warp of a group, whose products that read the tile are over.
  __device__ void Release(int item) const {
    if (threadIdx.x % 32 == 0) Arrive(Free(item));
  }

 private:
  static constexpr int kTiles = kRingTiles<Kv>;

  __device__ void InitBarriers(int groups) const {
    for (int i = 0; i < kTiles; ++i) {
      InitBarrier(Ready(i), 1);
      InitBarrier(Free(i), groups * kGroupThreads / 32);
    }
    InitBarrier(End(), 1);
    for (int i = 0; i < kStagedTiles; ++i) InitBarrier(Staged(i), 1);
    PublishBarriers();
  }
  __device__ std::uint32_t barriers() const { return Ones() + kOnesBytes; }

  const std::uint32_t tiles_;
};

// The warp that fills the ring; all lanes.
class PrefillCopier {
 public:
  __device__ PrefillCopier(const AttentionArgs& args, const PrefillShared<Bf16Kv>& shared,
                           const RowTile& tile, int kv_head, int last_position)
      : args_(args),
        shared_(shared),
        block_table_(args.block_tables + std::int64_t{args.seq_slot[tile.seq]} * args.max_blocks),
        kv_head_(kv_head),
        last_position_(last_position) {}

  __device__ void Run(const CUtensorMap& keys, const CUtensorMap& values) const {
    const int last = last_position_ / kSegmentKeys;
    int row = Row(0);
    for (int segment = 0; segment <= last; ++segment) {
      const int next = Row(segment + 1);
      Copy(keys, segment, segment * 2, row);
      Copy(values, segment, segment * 2 + 1, row);
      row = next;
    }
    EndValues(last);
  }

 private:
  // This lane's first row of the segment among all of a plane.
  __device__ int Row(int segment) const {
    return static_cast<int>(
        PieceOffset(args_, block_table_, kv_head_, segment, NumPieces(segment, last_position_)) /
        kHeadDim);
  }
  __device__ void Copy(const CUtensorMap& plane, int segment, int item, int row) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int pieces = NumPieces(segment, last_position_);
    shared_.WaitFree(item);
    if (lane == 0) {
      ArriveExpecting(shared_.Ready(item),
                      static_cast<std::uint32_t>(pieces * kPieceBytes<Bf16Kv>));
    }
    __syncwarp();
    if (lane >= pieces) return;
    for (int half = 0; half < kHalves; ++half) {
      CopyBox(shared_.Tile(item) + half * kHalfBytes + lane * (kPieceBytes<Bf16Kv> / kHalves),
              plane, half * kHalfColumns, row, shared_.Ready(item), kEvictNormal);
    }
  }
  // Zeros from the last position on.
  __device__ void EndValues(int last) const {
    const int item = last * 2 + 1;
    shared_.WaitReady(item);
    const int first = (last_position_ + 1 - last * kSegmentKeys) * kHalfRowBytes;
    for (int half = 0; half < kHalves; ++half) {
      for (int at = first + static_cast<int>(threadIdx.x % 32) * 16; at < kHalfBytes;
           at += 32 * 16) {
        StorePiece(shared_.Tile(item) + half * kHalfBytes + at, {});
      }
    }
    PublishToTensorCores();
    __syncwarp();
    if (threadIdx.x % 32 == 0) Arrive(shared_.End());
  }

  const AttentionArgs& args_;
  const PrefillShared<Bf16Kv>& shared_;
  const std::int32_t* const block_table_;
  const int kv_head_;
  const int last_position_;
};

#endif

}  // namespace thinkwire::worker::kernels
