// Attention of prompt chunks on Hopper: attention_prefill.cu's rows by wgmma.
//
// Formula: attention_tile.cuh.
//
// Mapping. A block computes a tile of 192 rows (prefill_rows.cuh), 64 by each of three groups of
// four warps, and walks the segments from position 0 to its last row's; where that makes fewer
// blocks than the device has multiprocessors, tiles of 128 or 64 rows by two groups or one. Block
// (h, b) takes tile b from the end of the step's last sequence, so that the longest walks start
// first; blocks without a tile end at once. One more warp brings keys and values through a ring of
// tiles. A group waits for its own products; meanwhile the tensor cores work for the others.
//   scores   64 rows x 128 keys, queries and keys from shared memory, 64 registers a lane;
//            becoming weights in 32, which are the values' A fragments as they are
//   values   two passes of 64 columns, each merged into the running result as it ends; the second
//            one has eight more columns, of ones, which give the sum of the weights
// A group leaves out segments behind its last row, and the second half of its last segment where no
// row sees a key of it.
//
// Shared memory. wgmma reads rows of 128 bytes whose 16-byte pieces lie at piece ^ (row & 7). A KV
// block's rows have 256 bytes with either half permuted so (kv_block.cuh): the copy engine brings
// the two halves of each 16 tokens as boxes of their own, and the tile is two matrices [128 keys,
// 64]. With queries, a ring of four tiles and the ones a block of three groups has 180 KB.
// Registers: 64 result, 64 scores, later 32 weights and 36 sums. Three groups have 160 a lane,
// which is some 15 too few: what the compiler puts into local memory meanwhile costs less than
// other sizes of blocks do.
//
// Of keys and values in FP8 four tiles come into the room of one of the ring and 32 KB more, and
// the warp that copies and its three neighbours, idle otherwise, write the ring's tiles
// (prefill_widen.cuh): 9 instructions for 4 numbers, for 192 rows a fifth of what the
// multiprocessor issues meanwhile.
//
// The last segment's values from the block's last row on are unwritten, and may be NaN, which a
// weight of 0 does not cancel: the warp that copies overwrites them with zeros. No code is a NaN.
//
// Work: 4 * 128 * rows * keys flops at up to 4,096 a cycle and multiprocessor, beside 16 exponents
// a cycle: 1,536 cycles of them for 3,072 of tensor cores a block and segment.
//
// Limits: G at most 16, compute capability 9.0. Tolerance: as attention_decode.cu, with which it
// agrees bit for bit.
#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_steps.cuh"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/attention/kv_copy.cuh"
#include "worker/kernels/cuda/attention/prefill_ring.cuh"
#include "worker/kernels/cuda/attention/prefill_rows.cuh"
#include "worker/kernels/cuda/attention/prefill_widen.cuh"
#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_map.h"
#include "worker/kernels/cuda/device/warpgroup.cuh"

namespace thinkwire::worker::kernels {
namespace {

// A block of kGroups groups.
template <class Kv, int kGroups>
struct BlockShape {
  static constexpr int kRows = kGroups * kGroupRows;
  static constexpr int kThreads = (kGroups + 1) * kGroupThreads;
  static constexpr bool kWidens = Kv::kRowBytes != kRowBytes;
  static constexpr int kQueryBytes = kRows * kRowBytes;
  static constexpr int kSharedBytes = kSharedAlignment + kRingTiles<Kv> * kRingTileBytes +
                                      kOnesBytes + kBarrierBytes + kQueryBytes +
                                      (kWidens ? kStagedBytes : 0);
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Registers a thread: no more together than the kernel is launched with. Who widens needs more than
// who copies.
template <class Kv>
constexpr int RowRegisters(int groups) {
  if (Kv::kRowBytes == kHeadDim) return groups == 3 ? 152 : groups == 2 ? 216 : 240;
  return groups == 3 ? 160 : 240;
}
template <class Kv>
constexpr int CopyRegisters(int groups) {
  if (Kv::kRowBytes == kHeadDim) return groups == 3 ? 56 : groups == 2 ? 72 : 240;
  return groups == 3 ? 32 : 24;
}

constexpr int kHalfSteps = kHalfColumns / 16;
constexpr int kPassTiles = kHalfColumns / 8;  // columns of values at once, in tiles of 8

// A group's 64 rows, in each warp 16. Index of pairs: half of the fragments.
template <class Kv>
class Rows {
 public:
  __device__ Rows(const AttentionArgs& args, const PrefillShared<Kv>& shared, const RowTile& tile,
                  int kv_head, int group);
  // Over all segments of the block's rows.
  __device__ void Walk(int last_position);
  __device__ void Write() const;

 private:
  __device__ void LoadQueries(const RowTile& tile, int kv_head) const;
  // Half `half` of the group's queries.
  __device__ std::uint32_t Queries(int half) const {
    return shared_.Queries() + (group_ * kHalves + half) * kGroupRows * kHalfRowBytes;
  }
  // The first kKeys of the segment; with kMasked some of them are later than some row.
  template <int kKeys, bool kMasked>
  __device__ void AddSegment(int segment, bool is_zeroed);
  template <int kKeys>
  __device__ void Score(std::uint32_t keys, float (&s)[kKeys / 8][4]) const;
  template <int kKeys>
  __device__ void SumValues(const RowFragments& weights, std::uint32_t values,
                            const MergeFactors (&factors)[2]);
  __device__ void Merge(const float (*o)[4], int pass, const MergeFactors (&factors)[2]);

  const AttentionArgs& args_;
  const PrefillShared<Kv>& shared_;
  const int group_;
  int at_[2];        // the row's place among the T * H of q and out, -1: no such row
  int position_[2];  // of its token; that of the group's first row where there is none
  int first_position_;
  int last_position_;
  // As if a segment had been before the first: -0 is what adds nothing to any number, 0 included.
  float max_[2] = {MinusInfinity(), MinusInfinity()};
  float sum_[2] = {-0.0F, -0.0F};
  float o_[kHeadDim / 8][4];
};

template <class Kv>
__device__ Rows<Kv>::Rows(const AttentionArgs& args, const PrefillShared<Kv>& shared,
                          const RowTile& tile, int kv_head, int group)
    : args_(args), shared_(shared), group_(group) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int first_row = group_ * kGroupRows;
  first_position_ = tile.Position(first_row, args.group);
  last_position_ = tile.Position(min(first_row + kGroupRows, tile.num_rows) - 1, args.group);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = static_cast<int>(threadIdx.x) / 32 * kTileRows + half * 8 + lane / 4;
    const bool exists = row < tile.num_rows;
    at_[half] = exists ? tile.Place(row, kv_head, args) : -1;
    position_[half] = exists ? tile.Position(row, args.group) : first_position_;
  }
#pragma unroll
  for (int i = 0; i < kHeadDim / 8; ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) o_[i][c] = -0.0F;
  }
  LoadQueries(tile, kv_head);
}

template <class Kv>
__device__ void Rows<Kv>::LoadQueries(const RowTile& tile, int kv_head) const {
  const int thread = static_cast<int>(threadIdx.x) % kGroupThreads;
  for (int i = thread; i < kGroupRows * kKvPieces; i += kGroupThreads) {
    const int row = i / kKvPieces;
    const int piece = i % kKvPieces;
    uint4 eight = {};
    if (group_ * kGroupRows + row < tile.num_rows) {
      const int place = tile.Place(group_ * kGroupRows + row, kv_head, args_);
      eight = *reinterpret_cast<const uint4*>(args_.q + std::int64_t{place} * kHeadDim + piece * 8);
    }
    const std::uint32_t half = Queries(piece / (kKvPieces / kHalves));
    StorePiece(half + row * kHalfRowBytes + ((piece % 8) ^ (row & 7)) * 16, eight);
  }
  PublishToTensorCores();
  asm volatile("bar.sync %0, %1;" ::"r"(1 + group_), "n"(kGroupThreads) : "memory");
}

template <class Kv>
template <int kKeys>
__device__ __forceinline__ void Rows<Kv>::Score(std::uint32_t keys,
                                                float (&s)[kKeys / 8][4]) const {
  BeginSteps();
#pragma unroll
  for (int half = 0; half < kHalves; ++half) {
    const std::uint64_t a = SwizzledMatrix(Queries(half));
    const std::uint64_t b = SwizzledMatrix(keys + half * kHalfBytes);
#pragma unroll
    for (int j = 0; j < kHalfSteps; ++j) {
      if (half + j == 0) {
        ScoreStep<false>(s, a, b);
      } else {
        ScoreStep<true>(s, a + 2 * j, b + 2 * j);
      }
    }
  }
  CommitSteps();
}

template <class Kv>
__device__ __forceinline__ void Rows<Kv>::Merge(const float (*o)[4], int pass,
                                                const MergeFactors (&factors)[2]) {
#pragma unroll
  for (int i = 0; i < kPassTiles; ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      float& total = o_[pass * kPassTiles + i][c];
      total = Merged(total, o[i][c], factors[c / 2]);
    }
  }
}

// From one k16 step of values to the next.
constexpr std::int64_t kKeyStep = 16 * kHalfRowBytes / 16;
constexpr std::int64_t kKeyStepWithOnes = kKeyStep - (kKeyStep << 16);

// values' SwizzledMatrix with eight more columns, which are read at `ones`. REQUIRES: ones >
// values.
__device__ __forceinline__ std::uint64_t WithOnes(std::uint32_t values, std::uint32_t ones) {
  constexpr std::uint64_t kNextColumns = 0x3FFFULL << 16;
  return (SwizzledMatrix(values) & ~kNextColumns) | (std::uint64_t{(ones - values) >> 4} << 16);
}

template <int kKeys, int kTiles>
__device__ __forceinline__ void AskForValues(const RowFragments& weights, std::uint64_t values,
                                             std::int64_t stride, float (&o)[kTiles][4]) {
#pragma unroll
  for (int step = 0; step < kKeys / 16; ++step) {
    if (step == 0) {
      ValueStep<false>(o, weights[step], values);
    } else {
      ValueStep<true>(o, weights[step], values + step * stride);
    }
  }
  CommitSteps();
}

template <class Kv>
template <int kKeys>
__device__ __forceinline__ void Rows<Kv>::SumValues(const RowFragments& weights,
                                                    std::uint32_t values,
                                                    const MergeFactors (&factors)[2]) {
  {
    float o[kPassTiles][4];
    BeginSteps();
    AskForValues<kKeys>(weights, SwizzledMatrix(values), kKeyStep, o);
    AwaitSteps<0>();
    PinTiles(o);
    Merge(o, 0, factors);
  }
  float o[kPassTiles + 1][4];
  BeginSteps();
  AskForValues<kKeys>(weights, WithOnes(values + kHalfBytes, shared_.Ones()), kKeyStepWithOnes, o);
  AwaitSteps<0>();
  PinTiles(o);
  Merge(o, 1, factors);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum_[half] = Merged(sum_[half], o[kPassTiles][half * 2], factors[half]);
  }
}

template <int kKeys>
__device__ __forceinline__ void WeightsOf(const float (&s)[kKeys / 8][4], float scale,
                                          const float (&max)[2], RowFragments& weights) {
  const float shift[2] = {ExponentShift(max[0], scale), ExponentShift(max[1], scale)};
#pragma unroll
  for (int step = 0; step < kKeys / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* pair = &s[step * 2 + i / 2][i % 2 * 2];
      weights[step][i] = Weights(pair[0], pair[1], scale, shift[i % 2]);
    }
  }
}

template <class Kv>
template <int kKeys, bool kMasked>
__device__ __forceinline__ void Rows<Kv>::AddSegment(int segment, bool is_zeroed) {
  const int first_key = segment * kSegmentKeys;
  const int item = segment * 2;
  float s[kKeys / 8][4];
  shared_.WaitReady(item);
  Score<kKeys>(shared_.Tile(item), s);
  AwaitSteps<0>();
  PinTiles(s);
  shared_.Release(item);
  if constexpr (kMasked) {
    const int num_keys[2] = {position_[0] + 1 - first_key, position_[1] + 1 - first_key};
    MaskScores<kKeys / 8>(num_keys, s);
  }
  float max[2];
  MaxScores<kKeys / 8>(s, max);
  RowFragments weights;
  WeightsOf<kKeys>(s, args_.scale, max, weights);
  MergeFactors factors[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    factors[half] = MergeMax(max_[half], __fmul_rn(max[half], args_.scale));
  }
  if (is_zeroed) {
    WaitBarrier(shared_.End(), 0);
  } else {
    shared_.WaitReady(item + 1);
  }
  SumValues<kKeys>(weights, shared_.Tile(item + 1), factors);
  shared_.Release(item + 1);
}

template <class Kv>
__device__ __forceinline__ void Rows<Kv>::Walk(int last_position) {
  const int last = last_position / kSegmentKeys;
  const int zeroed = args_.fp8 ? -1 : last;
  for (int segment = 0; segment <= last; ++segment) {
    const int first_key = segment * kSegmentKeys;
    if (first_position_ >= first_key + kSegmentKeys - 1) {
      AddSegment<kSegmentKeys, false>(segment, segment == zeroed);
    } else if (last_position_ >= first_key + kSegmentKeys / 2) {
      AddSegment<kSegmentKeys, true>(segment, segment == zeroed);
    } else if (last_position_ >= first_key) {
      AddSegment<kSegmentKeys / 2, true>(segment, segment == zeroed);
    } else {
      for (int item = segment * 2; item < segment * 2 + 2; ++item) {
        shared_.WaitReady(item);
        shared_.Release(item);
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

#endif

template <class Kv, int kGroups>
__global__ void __launch_bounds__(BlockShape<Kv, kGroups>::kThreads, 1)
    WgmmaPrefillAttentionKernel(const __grid_constant__ AttentionArgs args,
                                const __grid_constant__ CUtensorMap keys,
                                const __grid_constant__ CUtensorMap values) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Shape = BlockShape<Kv, kGroups>;
  extern __shared__ __align__(1024) std::byte memory[];
  AllowNext();
  const int kv_head = static_cast<int>(blockIdx.x);
  const RowTile tile = FindTile<Shape::kRows>(args, static_cast<int>(blockIdx.y));
  if (tile.seq < 0) {
    // A kernel's end tells the next one that all before it ended: one block waits even so.
    if (blockIdx.x == 0 && blockIdx.y == 0) WaitForPrevious();
    return;
  }
  const PrefillShared<Kv> shared(memory);
  const int groups = (tile.num_rows + kGroupRows - 1) / kGroupRows;
  shared.Init(groups);
  __syncthreads();
  WaitForPrevious();
  const int last_position = tile.Position(tile.num_rows - 1, args.group);
  // From lane 0, so that the compiler knows it to be the same in all lanes.
  const int group = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / kGroupThreads, 0);
  if (group >= groups) {
    ShrinkRegisters<CopyRegisters<Kv>(kGroups)>();
    if (threadIdx.x / kGroupThreads != kGroups) return;
    if constexpr (Shape::kWidens) {
      PrefillWidener(args, shared, shared.Queries() + Shape::kQueryBytes, tile, kv_head,
                     last_position)
          .Run();
    } else {
      if (threadIdx.x / 32 != kGroups * kGroupThreads / 32) return;
      PrefillCopier(args, shared, tile, kv_head, last_position).Run(keys, values);
    }
  } else {
    GrowRegisters<RowRegisters<Kv>(kGroups)>();
    Rows<Kv> rows(args, shared, tile, kv_head, group);
    rows.Walk(last_position);
    rows.Write();
  }
#else
  __trap();
#endif
}

// How the copy engine reads half rows of 16 tokens, as they are stored.
CUtensorMap HalfRowMap(const AttentionArgs& args, const void* plane, std::int64_t rows) {
  if (args.fp8) return {};  // not read
  return MakePlainRowMap(plane, rows, kHeadDim, kHalfColumns, kPieceTokens);
}

template <class Kv, int kGroups>
void PrepareGroups() {
  CUDA_CHECK(cudaFuncSetAttribute(WgmmaPrefillAttentionKernel<Kv, kGroups>,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  BlockShape<Kv, kGroups>::kSharedBytes));
}

template <class Kv>
void Prepare() {
  PrepareGroups<Kv, 1>();
  PrepareGroups<Kv, 2>();
  PrepareGroups<Kv, 3>();
}

// Blocks of kGroups groups that have a tile, a few more or less.
template <int kGroups>
std::int64_t NumBlocks(const AttentionArgs& args) {
  const std::int64_t rows = std::int64_t{args.num_tokens} * args.group;
  return rows / (kGroups * kGroupRows) * args.num_kv_heads;
}

template <class Kv, int kGroups>
void LaunchGroups(const AttentionArgs& args, std::int64_t plane_rows, cudaStream_t stream) {
  using Shape = BlockShape<Kv, kGroups>;
  const std::int64_t tiles =
      std::int64_t{args.num_tokens} * args.group / Shape::kRows + args.num_seqs;
  Launch(WgmmaPrefillAttentionKernel<Kv, kGroups>,
         {.grid = dim3(static_cast<unsigned>(args.num_kv_heads), static_cast<unsigned>(tiles)),
          .block = Shape::kThreads,
          .shared_bytes = Shape::kSharedBytes},
         stream, args, HalfRowMap(args, args.keys, plane_rows),
         HalfRowMap(args, args.values, plane_rows));
}

template <class Kv>
void LaunchOver(const AttentionArgs& args, std::int64_t plane_rows, int num_sms,
                cudaStream_t stream) {
  if (NumBlocks<1>(args) <= num_sms) {
    LaunchGroups<Kv, 1>(args, plane_rows, stream);
  } else if (NumBlocks<2>(args) <= num_sms) {
    LaunchGroups<Kv, 2>(args, plane_rows, stream);
  } else {
    LaunchGroups<Kv, 3>(args, plane_rows, stream);
  }
}

}  // namespace

void PrepareWgmmaPrefillAttention() {
  Prepare<Bf16Kv>();
  Prepare<Fp8Kv>();
}

void LaunchWgmmaPrefillAttention(const AttentionArgs& args, std::int64_t plane_rows, int num_sms,
                                 cudaStream_t stream) {
  if (args.fp8) {
    LaunchOver<Fp8Kv>(args, plane_rows, num_sms, stream);
  } else {
    LaunchOver<Bf16Kv>(args, plane_rows, num_sms, stream);
  }
}

}  // namespace thinkwire::worker::kernels
