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

// The warp that fills queries and tiles; all lanes. A cluster's blocks bring an equal share of each
// tile's pieces to all of them.
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
        rank_(kCluster == 1 ? 0U : ClusterRank()) {}

  __device__ __forceinline__ void Copy(const LatentItem& item) {
    CopyQueries(item);
    const std::int64_t slot = args_.batch.seq_slot[args_.batch.token_seq[item.token]];
    blocks_ = args_.batch.block_tables + slot * args_.batch.max_blocks;
    int row = RowOf(item, item.first);
    for (int key = item.first; key < item.end; key += kRingTile) {
      const int next = RowOf(item, key + kRingTile);
      CopyTile(min(kRingTile, item.end - key), row);
      row = next;
    }
  }

 private:
  static constexpr int kPieces = kRingTile / kPieceKeys;
  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }

  __device__ __forceinline__ void CopyQueries(const LatentItem& item) {
    LatentScalars& scalars = shared_.scalars;
    if (items_ > 0) WaitBarrier(SharedAddress(&scalars.queries_free), (items_ & 1) ^ 1);
    ++items_;
    const std::uint32_t ready = SharedAddress(&scalars.queries_ready);
    if (lane() == 0) {
      ArriveExpecting(ready, static_cast<std::uint32_t>(box_heads_ * kBoxRowBytes * kBoxes));
    }
    __syncwarp();
    if (lane() >= kBoxes) return;
    CopyBox(SharedAddress(shared_.queries) + lane() * kBoxBytes, queries_, lane() * 64,
            item.token * args_.heads + item.group * kGroupHeads, ready, kEvictNormal);
  }

  // The row in the plane of this lane's piece of the tile that begins with `key`.
  __device__ __forceinline__ int RowOf(const LatentItem& item, int key) const {
    const int position = min(key + lane() % kPieces * kPieceKeys, item.position);
    return blocks_[position / args_.block_tokens] * args_.block_tokens +
           position / kPieceKeys * kPieceKeys % args_.block_tokens;
  }

  __device__ __forceinline__ void CopyTile(int keys, int row) {
    LatentScalars& scalars = shared_.scalars;
    const int pieces = (keys + kPieceKeys - 1) / kPieceKeys;
    const std::uint32_t ready = SharedAddress(&scalars.ready[turn_.place()]);
    WaitFree(0);
    if (lane() == 0) {
      ArriveExpecting(ready, static_cast<std::uint32_t>(pieces * kBoxes * kPieceBoxBytes));
    }
    __syncwarp();
    CopyPieces(0, min(pieces, kPieces / 2), row, ready);
    WaitFree(1);
    CopyPieces(kPieces / 2, pieces, row, ready);
    turn_.Next();
  }
  __device__ __forceinline__ void WaitFree(int half) const {
    if (turn_.count < kRingTiles) return;
    WaitBarrier(SharedAddress(&shared_.scalars.free[turn_.place()][half]), turn_.parity() ^ 1);
  }
  __device__ __forceinline__ void CopyPieces(int first, int end, int row,
                                             std::uint32_t ready) const {
    const std::uint32_t tile = SharedAddress(shared_.tiles[turn_.place()]);
    const int count = max(0, end - first) * kBoxes;
    for (int i = 0; i < (count + 31) / 32 * 32; i += 32) {
      const int at = i + lane();
      const int piece = first + at / kBoxes;
      const int box = at % kBoxes;
      const int of_piece = __shfl_sync(0xFFFFFFFFU, row, piece % kPieces);
      if (at >= count || piece % kCluster != static_cast<int>(rank_)) continue;
      const std::uint32_t to = tile + box * kBoxBytes + piece * kPieceBoxBytes;
      if constexpr (kCluster == 1) {
        CopyBox(to, plane_, box * 64, of_piece, ready, kEvictNormal);
      } else {
        CopyBoxToBlocks(to, plane_, box * 64, of_piece, ready, (1U << kCluster) - 1, kEvictNormal);
      }
    }
  }

  const LatentArgs& args_;
  LatentShared& shared_;
  const CUtensorMap& queries_;
  const CUtensorMap& plane_;
  const int box_heads_;
  const unsigned rank_;
  const std::int32_t* blocks_ = nullptr;
  int items_ = 0;
  RingTurn turn_;
};

#endif

}  // namespace thinkwire::worker::kernels
