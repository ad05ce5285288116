#pragma once

#include <cuda.h>

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/device/barrier.cuh"
#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/cluster.cuh"
#include "worker/kernels/cuda/device/warpgroup.cuh"
#include "worker/kernels/cuda/latent/latent_args.h"

// What a block of latent_attention_wgmma.cu, which explains it, keeps in shared memory, and the
// warp that fills it.
namespace thinkwire::worker::kernels {

inline constexpr int kGroupThreads = 128;
inline constexpr int kGroupHeads = 64;
inline constexpr int kRingTile = 64;  // keys
inline constexpr int kRingTiles = 2;
inline constexpr int kRingHalf = kRingTile / 2;
inline constexpr int kPieceKeys = 16;  // of one copy
inline constexpr int kBoxes = (kLatentWidth + kLatentRotated) / 64;
inline constexpr int kBoxRowBytes = 128;                    // of 64 columns
inline constexpr int kBoxBytes = kRingTile * kBoxRowBytes;  // of a tile, or of the queries
inline constexpr int kPlaceBytes = kBoxes * kBoxBytes;
inline constexpr int kPieceBoxBytes = kPieceKeys * kBoxRowBytes;
inline constexpr int kValueWarps = 8;
inline constexpr int kCopierWarps = kRingTile / kPieceKeys;
static_assert(kCopierWarps == kGroupThreads / 32, "a warp has a piece of a tile");
static_assert(kGroupHeads == kRingTile, "boxes of queries are as large as those of keys");

// What the weights' warps tell those of the values of a tile, beside weights.
struct LatentScalars {
  std::uint64_t queries_ready, queries_free;
  std::uint64_t ready[kRingTiles];
  std::uint64_t free[kRingTiles][2];  // by halves
  std::uint64_t weights_ready, weights_free;
  float factors[2][kGroupHeads];  // of the results before either half of the tile
  float2 sums[kGroupHeads];       // at a segment's end: the maximum and the sum of weights
  std::uint16_t starts[kMostSplitTokens + 1];
};

struct LatentShared {
  unsigned char queries[kPlaceBytes];
  unsigned char tiles[kRingTiles][kPlaceBytes];
  unsigned char weights[kGroupHeads * kBoxRowBytes];
  LatentScalars scalars;
};
static_assert(sizeof(LatentShared) <= 232448);

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Which tile of all that a block has walked, and so where it lies and whose turn its barriers have.
struct RingTurn {
  int count = 0;

  __device__ __forceinline__ int place() const { return count % kRingTiles; }
  __device__ __forceinline__ std::uint32_t parity() const { return count / kRingTiles & 1; }
  __device__ __forceinline__ void Next() { ++count; }
};

// The four warps that fill the ring, each 16 keys of every tile; the first one the queries too. A
// cluster's blocks bring an equal share of each tile to all of them. A copy is asked for by a lane
// whose operands all lanes have: lanes that ask for one each wait for each other.
template <int kCluster>
class LatentCopier {
 public:
  __device__ __forceinline__ LatentCopier(const LatentArgs& args, LatentShared& shared,
                                          const CUtensorMap& queries, const CUtensorMap& plane,
                                          int box_heads)
      : args_(args),
        shared_(shared),
        queries_(queries),
        plane_(plane),
        box_heads_(box_heads),
        warp_(Uniform(static_cast<int>(threadIdx.x / 32))),
        copies_(kCluster == 1 || warp_ % kCluster == static_cast<int>(ClusterRank())) {}

  __device__ __forceinline__ void Copy(const LatentItem& item) {
    if (warp_ == 0) CopyQueries(item);
    ++items_;
    const std::int64_t slot = args_.batch.seq_slot[args_.batch.token_seq[item.token]];
    blocks_ = args_.batch.block_tables + slot * args_.batch.max_blocks;
    int row = RowOf(item, item.first);
    for (int key = item.first; key < item.end; key += kRingTile) {
      const int next = RowOf(item, key + kRingTile);
      CopyPiece(item.end - key > warp_ * kPieceKeys, Uniform(row));
      row = next;
    }
  }

 private:
  static __device__ __forceinline__ bool is_elected() { return threadIdx.x % 32 == 0; }

  __device__ __forceinline__ void CopyQueries(const LatentItem& item) {
    LatentScalars& scalars = shared_.scalars;
    if (items_ > 0) WaitBarrier(SharedAddress(&scalars.queries_free), (items_ & 1) ^ 1);
    const std::uint32_t ready = SharedAddress(&scalars.queries_ready);
    const std::uint32_t to = Uniform(SharedAddress(shared_.queries));
    const int row = item.token * args_.heads + item.group * kGroupHeads;
    if (is_elected()) {
      ArriveExpecting(ready, static_cast<std::uint32_t>(box_heads_ * kBoxRowBytes * kBoxes));
#pragma unroll
      for (int box = 0; box < kBoxes; ++box) {
        CopyBox(to + box * kBoxBytes, queries_, box * 64, row, ready, kEvictNormal);
      }
    }
    __syncwarp();
  }

  // The row in the plane of this warp's piece of the tile that begins with `key`.
  __device__ __forceinline__ int RowOf(const LatentItem& item, int key) const {
    const int position = min(key + warp_ * kPieceKeys, item.position);
    return blocks_[position / args_.block_tokens] * args_.block_tokens +
           position / kPieceKeys * kPieceKeys % args_.block_tokens;
  }

  __device__ __forceinline__ void CopyPiece(bool has_keys, int row) {
    LatentScalars& scalars = shared_.scalars;
    if (turn_.count >= kRingTiles) {
      WaitBarrier(SharedAddress(&scalars.free[turn_.place()][warp_ * kPieceKeys / kRingHalf]),
                  turn_.parity() ^ 1);
    }
    const std::uint32_t ready = Uniform(SharedAddress(&scalars.ready[turn_.place()]));
    const std::uint32_t to =
        Uniform(SharedAddress(shared_.tiles[turn_.place()]) + warp_ * kPieceBoxBytes);
    if (is_elected()) {
      if (has_keys) {
        ArriveExpecting(ready, kBoxes * kPieceBoxBytes);
      } else {
        Arrive(ready);
      }
      if (has_keys && copies_) CopyBoxesOf(to, row, ready);
    }
    __syncwarp();
    turn_.Next();
  }
  __device__ __forceinline__ void CopyBoxesOf(std::uint32_t to, int row,
                                              std::uint32_t ready) const {
#pragma unroll
    for (int box = 0; box < kBoxes; ++box) {
      if constexpr (kCluster == 1) {
        CopyBox(to + box * kBoxBytes, plane_, box * 64, row, ready, kEvictNormal);
      } else {
        CopyBoxToBlocks(to + box * kBoxBytes, plane_, box * 64, row, ready, (1U << kCluster) - 1,
                        kEvictNormal);
      }
    }
  }

  const LatentArgs& args_;
  LatentShared& shared_;
  const CUtensorMap& queries_;
  const CUtensorMap& plane_;
  const int box_heads_;
  const int warp_;
  const bool copies_;
  const std::int32_t* blocks_ = nullptr;
  int items_ = 0;
  RingTurn turn_;
};

#endif

}  // namespace thinkwire::worker::kernels
