// Attention of sequences with more rows (tokens times G) than decode's kernel takes: prompt chunks.
//
// More than 400 lines: the walk of a tile, its ring and its registers are one piece of work, and
// are read together.
//
// Formula: attention_tile.cuh.
//
// Mapping. A sequence's rows for a KV head, (token, head of the group) flattened, are cut into
// tiles of 128; a block computes one, 16 rows a warp, walking the segments from position 0 to its
// last row's. Block (h, b) takes tile b from the end of the step's last sequence, so that the
// longest walks start first; blocks without a tile end at once. Keys and values come through a ring
// of tiles in shared memory. Warps meet nowhere: each waits for a tile to be ready and says when it
// has read it; the first warp also requests tiles, into the place that was read one tile ago, so
// that it rarely waits for the others.
//   scores   16 rows x 128 keys in 64 registers a lane; becoming weights in 32, as fragments
//   values   two passes of 64 columns, each merged into the running result as it ends
// A warp leaves out segments behind its last row, and the second half of its last segment where no
// row sees a key of it.
//
// Shared memory: 128 KB, two segments of keys and values (64 KB where a block has less); registers:
// 64 result, 64 scores, 32 queries of at most 255: one block of 8 warps an SM.
//
// Work: 4 * 128 * rows * keys flops; each warp reads a segment's 64 KB from shared memory for its
// 16 rows, which at 128 bytes a cycle and SM allows 460 TFLOP/s on H100: that, not mma.sync's rate,
// is the roof.
//
// Limits: G at most 16. Tolerance: as attention_decode.cu, with which it agrees bit for bit.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_fp8.cuh"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/attention/kv_copy.cuh"
#include "worker/kernels/cuda/attention/prefill_rows.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"

namespace thinkwire::worker::kernels {
namespace {

constexpr int kBlockRows = 128;
constexpr int kRowWarps = kBlockRows / kTileRows;
constexpr int kThreads = kRowWarps * 32;
constexpr int kMostTiles = 4;  // of the ring; a power of two, as is what a launch uses
constexpr int kKeyTiles = kSegmentKeys / 8;
constexpr int kPassTiles = 8;  // columns of values at once, in tiles of 8
constexpr int kPasses = kHeadDim / (kPassTiles * 8);

struct Barriers {
  std::uint64_t ready[kMostTiles];
  std::uint64_t free[kMostTiles];
};

template <class Kv>
std::size_t SharedBytes(int kv_tiles) {
  return static_cast<std::size_t>(kv_tiles) * kTileBytes<Kv> + sizeof(Barriers);
}

// The ring's tiles hold keys and values of segments in turn: item 2 j keys of segment j, 2 j + 1
// values.
template <class Kv>
class Ring {
 public:
  __device__ Ring(std::byte* shared, int num_tiles)
      : tiles_(SharedAddress(shared)),
        barriers_(tiles_ + num_tiles * kTileBytes<Kv>),
        num_tiles_(num_tiles) {}

  __device__ void Init(int num_readers) const {
    for (int i = 0; i < num_tiles_; ++i) {
      InitBarrier(Ready(i), CopyArrivals());
      InitBarrier(Free(i), num_readers);
    }
    PublishBarriers();
  }
  __device__ std::uint32_t Tile(int item) const { return tiles_ + Slot(item) * kTileBytes<Kv>; }
  __device__ std::uint32_t Ready(int item) const { return barriers_ + Slot(item) * 8; }
  __device__ std::uint32_t Free(int item) const {
    return barriers_ + (kMostTiles + Slot(item)) * 8;
  }
  __device__ void WaitReady(int item) const { WaitBarrier(Ready(item), Round(item) & 1); }
  __device__ void WaitFree(int item) const {
    if (item >= num_tiles_) WaitBarrier(Free(item), (Round(item) & 1) ^ 1);
  }
  // By a warp that has read what it needs; `landed` was computed from all of it.
  __device__ void Release(int item, std::uint32_t landed, std::uint32_t zero) const {
    __syncwarp();
    if (threadIdx.x % 32 == 0) ArriveAfter(landed, zero, Free(item));
  }
  __device__ int num_tiles() const { return num_tiles_; }
  // How many tiles ago a place was read that is filled again. A ring of two has none to spare.
  __device__ int lag() const { return num_tiles_ / 4; }

 private:
  __device__ int Slot(int item) const { return item & (num_tiles_ - 1); }
  __device__ std::uint32_t Round(int item) const {
    return static_cast<std::uint32_t>(item) / static_cast<std::uint32_t>(num_tiles_);
  }

  const std::uint32_t tiles_;
  const std::uint32_t barriers_;
  const int num_tiles_;
};

// Requests a ring's items in order; all lanes of one warp.
template <class Kv>
class Copier {
 public:
  __device__ Copier(const AttentionArgs& args, const RowTile& tile, int kv_head, int last_position)
      : args_(args),
        block_table_(args.block_tables + std::int64_t{args.seq_slot[tile.seq]} * args.max_blocks),
        kv_head_(kv_head),
        last_position_(last_position),
        offset_(Offset(0)) {}

  // Once the item's place is free. Nothing if the block needs no such item.
  __device__ void Request(const Ring<Kv>& ring, int item) {
    const int segment = item / 2;
    if (segment > last_position_ / kSegmentKeys) return;
    const int pieces = NumPieces(segment, last_position_);
    ring.WaitFree(item);
    BeginCopy<Kv>(ring.Ready(item), pieces);
    CopyPieces<Kv>(item % 2 == 0 ? args_.keys : args_.values, offset_, ring.Tile(item),
                   ring.Ready(item), pieces);
    EndCopy(ring.Ready(item));
    if (item % 2 != 0) offset_ = Offset(segment + 1);
  }

 private:
  __device__ std::int64_t Offset(int segment) const {
    return PieceOffset(args_, block_table_, kv_head_, segment, NumPieces(segment, last_position_));
  }

  const AttentionArgs& args_;
  const std::int32_t* const block_table_;
  const int kv_head_;
  const int last_position_;
  std::int64_t offset_;  // PieceOffset of the next item's segment
};

// A warp's 16 rows. Index of pairs: half.
template <class Kv>
class Rows {
 public:
  __device__ Rows(const AttentionArgs& args, const RowTile& tile, int kv_head);
  // Over all segments of the block's rows.
  __device__ void Walk(const Ring<Kv>& ring, Copier<Kv>& copier, int last_position);
  __device__ void Write() const;

 private:
  // With kPartial some of the segment's keys are later than some row, or have no value yet.
  template <bool kPartial>
  __device__ void AddSegment(const Ring<Kv>& ring, Copier<Kv>& copier, int segment);
  __device__ void Release(const Ring<Kv>& ring, Copier<Kv>& copier, int item,
                          std::uint32_t landed) const;
  template <bool kPartial>
  __device__ void ScoreSegment(std::uint32_t keys, int first_key, float (&s)[kKeyTiles][4]) const;
  template <bool kPartial>
  __device__ void SumValues(const RowFragments& weights, std::uint32_t values, int first_key,
                            const MergeFactors (&factors)[2], bool first);

  const AttentionArgs& args_;
  int at_[2];        // the row's place among the T * H of q and out, -1: no such row
  int position_[2];  // of its token; that of the warp's first row where there is none
  int first_position_;
  int last_position_;
  RowFragments q_;
  float max_[2];
  float sum_[2];
  float o_[kHeadDim / 8][4];
};

template <class Kv>
__device__ Rows<Kv>::Rows(const AttentionArgs& args, const RowTile& tile, int kv_head)
    : args_(args) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp_row = static_cast<int>(threadIdx.x / 32) * kTileRows;
  first_position_ = tile.Position(warp_row, args.group);
  last_position_ = tile.Position(min(warp_row + kTileRows, tile.num_rows) - 1, args.group);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + half * 8 + lane / 4;
    const bool exists = row < tile.num_rows;
    at_[half] = exists ? tile.Place(row, kv_head, args) : -1;
    position_[half] = exists ? tile.Position(row, args.group) : first_position_;
    LoadQueryRow(exists ? args.q + std::int64_t{at_[half]} * kHeadDim : nullptr, half, q_);
  }
}

template <class Kv>
template <bool kPartial>
__device__ __forceinline__ void Rows<Kv>::ScoreSegment(std::uint32_t keys, int first_key,
                                                       float (&s)[kKeyTiles][4]) const {
  if constexpr (!kPartial) {
    ScoreKeys<kKeyTiles>(Kv(), q_, keys, 0, s);
  } else {
    constexpr int kHalf = kKeyTiles / 2;
    ScoreKeys<kHalf>(Kv(), q_, keys, 0, s);
    if (last_position_ >= first_key + kSegmentKeys / 2) {
      ScoreKeys<kHalf>(Kv(), q_, keys, kSegmentKeys / 2, s + kHalf);
    }
    const int num_keys[2] = {position_[0] + 1 - first_key, position_[1] + 1 - first_key};
    MaskScores<kKeyTiles>(num_keys, s);
  }
}

template <class Kv>
template <bool kPartial>
__device__ __forceinline__ void Rows<Kv>::SumValues(const RowFragments& weights,
                                                    std::uint32_t values, int first_key,
                                                    const MergeFactors (&factors)[2], bool first) {
  const int num_keys = last_position_ + 1 - first_key;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    float o[kPassTiles][4] = {};
    if constexpr (!kPartial) {
      AddValues<kPassTiles, 0, kSteps, false>(Kv(), weights, values, pass * kPassTiles, num_keys,
                                              o);
    } else {
      AddValues<kPassTiles, 0, kSteps / 2, true>(Kv(), weights, values, pass * kPassTiles, num_keys,
                                                 o);
      if (num_keys > kSegmentKeys / 2) {
        AddValues<kPassTiles, kSteps / 2, kSteps, true>(Kv(), weights, values, pass * kPassTiles,
                                                        num_keys, o);
      }
    }
#pragma unroll
    for (int i = 0; i < kPassTiles; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        float& total = o_[pass * kPassTiles + i][c];
        total = first ? o[i][c] : Merged(total, o[i][c], factors[c / 2]);
      }
    }
  }
}

template <class Kv>
__device__ __forceinline__ void Rows<Kv>::Release(const Ring<Kv>& ring, Copier<Kv>& copier,
                                                  int item, std::uint32_t landed) const {
  ring.Release(item, landed, args_.zero);
  if (threadIdx.x < 32) copier.Request(ring, item + ring.num_tiles() - ring.lag());
}

template <class Kv>
template <bool kPartial>
__device__ __forceinline__ void Rows<Kv>::AddSegment(const Ring<Kv>& ring, Copier<Kv>& copier,
                                                     int segment) {
  const int first_key = segment * kSegmentKeys;
  const int item = segment * 2;
  float s[kKeyTiles][4];
  ring.WaitReady(item);
  ScoreSegment<kPartial>(ring.Tile(item), first_key, s);
  float max[2];
  MaxScores<kKeyTiles>(s, max);
  Release(ring, copier, item, __float_as_uint(max[0]) | __float_as_uint(max[1]));

  const float shift[2] = {ExponentShift(max[0], args_.scale), ExponentShift(max[1], args_.scale)};
  RowFragments weights;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* pair = &s[step * 2 + i / 2][i % 2 * 2];
      weights[step][i] = Weights(pair[0], pair[1], args_.scale, shift[i % 2]);
    }
  }
  float sum[4] = {};
  AddWeights<0, kSteps>(weights, sum);

  MergeFactors factors[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float scaled = __fmul_rn(max[half], args_.scale);
    if (segment == 0) {
      max_[half] = scaled;
      sum_[half] = sum[half * 2];
    } else {
      factors[half] = MergeMax(max_[half], scaled);
      sum_[half] = Merged(sum_[half], sum[half * 2], factors[half]);
    }
  }
  ring.WaitReady(item + 1);
  SumValues<kPartial>(weights, ring.Tile(item + 1), first_key, factors, segment == 0);
  std::uint32_t landed = 0;
#pragma unroll
  for (int i = 0; i < kHeadDim / 8; i += 2) landed |= __float_as_uint(o_[i][0]);  // a pair a load
  Release(ring, copier, item + 1, landed);
}

template <class Kv>
__device__ __forceinline__ void Rows<Kv>::Walk(const Ring<Kv>& ring, Copier<Kv>& copier,
                                               int last_position) {
  for (int segment = 0; segment <= last_position / kSegmentKeys; ++segment) {
    const int first_key = segment * kSegmentKeys;
    if (first_position_ >= first_key + kSegmentKeys - 1) {
      AddSegment<false>(ring, copier, segment);
    } else if (last_position_ >= first_key) {
      AddSegment<true>(ring, copier, segment);
    } else {
      for (int item = segment * 2; item < segment * 2 + 2; ++item) {
        ring.WaitReady(item);
        Release(ring, copier, item, 0);
      }
    }
  }
}

template <class Kv>
__device__ __forceinline__ void Rows<Kv>::Write() const {
  const int column = static_cast<int>(threadIdx.x % 4) * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (at_[half] < 0) return;
    __nv_bfloat16* const out = args_.out + std::int64_t{at_[half]} * kHeadDim + column;
    const float inverse = Inverse(sum_[half], args_.value_scale);
#pragma unroll
    for (int i = 0; i < kHeadDim / 8; ++i) {
      *reinterpret_cast<std::uint32_t*>(out + i * 8) =
          Result(o_[i][half * 2], o_[i][half * 2 + 1], inverse);
    }
  }
}

template <class Kv>
__global__ void __launch_bounds__(kThreads, 1)
    PrefillAttentionKernel(const __grid_constant__ AttentionArgs args) {
  extern __shared__ __align__(1024) std::byte shared[];
  AllowNext();
  const int kv_head = static_cast<int>(blockIdx.x);
  const RowTile tile = FindTile<kBlockRows>(args, static_cast<int>(blockIdx.y));
  if (tile.seq < 0) {
    // A kernel's end tells the next one that all before it ended: one block waits even so.
    if (blockIdx.x == 0 && blockIdx.y == 0) WaitForPrevious();
    return;
  }
  const Ring<Kv> ring(shared, args.workspace.prefill_kv_tiles);
  const int warps = (tile.num_rows + kTileRows - 1) / kTileRows;
  if (threadIdx.x == 0) ring.Init(warps);
  __syncthreads();
  WaitForPrevious();
  if (static_cast<int>(threadIdx.x / 32) >= warps) return;
  const int last_position = tile.Position(tile.num_rows - 1, args.group);
  Copier<Kv> copier(args, tile, kv_head, last_position);
  if (threadIdx.x < 32) {
    for (int item = 0; item < ring.num_tiles() - ring.lag(); ++item) copier.Request(ring, item);
  }
  Rows<Kv> rows(args, tile, kv_head);
  rows.Walk(ring, copier, last_position);
  rows.Write();
}

template <class Kv>
void Prepare(std::int32_t kv_tiles) {
  CUDA_CHECK(cudaFuncSetAttribute(PrefillAttentionKernel<Kv>,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(SharedBytes<Kv>(kv_tiles))));
}

template <class Kv>
void LaunchOver(const AttentionArgs& args, cudaStream_t stream) {
  const std::int64_t tiles =
      std::int64_t{args.num_tokens} * args.group / kBlockRows + args.num_seqs;
  Launch(PrefillAttentionKernel<Kv>,
         {.grid = dim3(static_cast<unsigned>(args.num_kv_heads), static_cast<unsigned>(tiles)),
          .block = kThreads,
          .shared_bytes = SharedBytes<Kv>(args.workspace.prefill_kv_tiles)},
         stream, args);
}

}  // namespace

void PreparePrefillAttention(std::int32_t kv_tiles) {
  Prepare<Bf16Kv>(kv_tiles);
  Prepare<Fp8Kv>(kv_tiles);
}

void LaunchPrefillAttention(const AttentionArgs& args, cudaStream_t stream) {
  if (args.fp8) {
    LaunchOver<Fp8Kv>(args, stream);
  } else {
    LaunchOver<Bf16Kv>(args, stream);
  }
}

}  // namespace thinkwire::worker::kernels
