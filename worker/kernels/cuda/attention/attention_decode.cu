// Attention of sequences with few rows (tokens times G, at most 16), one token in decode.
//
// Formula: attention_tile.cuh.
//
// Mapping. A unit of work is a sequence's KV head, walked in segments of 128 keys; which block
// walks which segments says decode_work.cuh. A block of 4 warps computes one segment at a time, its
// rows padded to one tile of 16. How long the sequences are is read by every block for itself: that
// is over before the kernel may start in earnest, and spares a kernel a step.
//   scores   warp w: 16 rows x keys 32 w .. 32 w + 31
//   weights  the rows' maxima meet in shared memory, then the weights as bf16
//   values   warp w: 16 rows x columns 32 w .. 32 w + 31 over all keys
// From a unit's first segment on a block merges as it goes, the running result in registers, and
// writes out a unit that it walked to the end. Of a unit that is cut, the first block leaves what
// it has merged, and the others each segment, in the workspace; decode_merge.cuh takes it from
// there.
//
// Shared memory: 64 KB for keys and values and 5 KB; at most 168 registers: three blocks an SM, so
// that two load while one computes. Keys of the next segment are requested once all warps have
// their scores, values once all have their sums. In FP8 keys and values have 32 KB, with what
// merging needs more 46, and at most 128 registers: four blocks, as it is their arithmetic that
// takes time.
//
// Bytes: 2 * 256 a KV head and position, or 2 * 128 in FP8, read once; q, out and partials (520
// bytes a row and segment, written and read in L2) are small beside it. Roof: reading DRAM.
//
// Limits: G at most 16; a block's table of sequences takes 24 bytes each of shared memory. Blocks
// of a unit wait for each other: all that are launched must be on the device at once.
//
// Tolerance: 1.5 * 2^-8 of sum p |v| against exact arithmetic on the same bf16 inputs, from the
// rounding of p (2^-9, in numerator and denominator) and of the result (2^-9).
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <limits>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_fp8.cuh"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/attention/decode_merge.cuh"
#include "worker/kernels/cuda/attention/decode_work.cuh"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/attention/kv_copy.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"

namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
// DecodeWork's, of segments. In FP8 a block computes for longer than it waits, so that even shares
// are worth more.
template <class Kv>
constexpr int kLeastNear = Kv::kRowBytes == kHeadDim ? 0 : 5;

template <class Kv>
constexpr int kBlocksOfSm = Kv::kRowBytes == kHeadDim ? 4 : 3;
constexpr int kWarpKeys = kSegmentKeys / kWarps;  // also a warp's columns of the result
constexpr int kWarpTiles = kWarpKeys / 8;
constexpr int kMostSequences = 1024;

// Of partial results that a block merges: where keys and values were, and in FP8 14 KB more.
template <class Kv>
using Merging = DecodeMerge<kWarps, Kv::kRowBytes == kHeadDim ? 9 * 1024 : 13 * 1024>;

template <class Kv>
struct Tiles {
  alignas(1024) std::byte keys[kTileBytes<Kv>];
  alignas(1024) std::byte values[kTileBytes<Kv>];
};

template <class Kv>
struct Shared {
  union {
    Tiles<Kv> tiles;
    typename Merging<Kv>::Memory merging;  // once all segments are done
  };
  alignas(1024) std::byte weights[kTileRows * kRowBytes];  // swizzled as keys are
  float max[kWarps][kTileRows];
  std::uint64_t keys_ready;
  std::uint64_t values_ready;
  typename DecodeWork<kWarps>::Shared work;
};
template <class Kv>
constexpr int kSequencesAt = (sizeof(Shared<Kv>) + 15) / 16 * 16;

template <class Kv>
std::size_t SharedBytes(int num_seqs) {
  return kSequencesAt<Kv> + static_cast<std::size_t>(num_seqs) * sizeof(Sequence);
}

// The running result of a warp's rows and columns. Index of max and sum: half.
struct State {
  float max[2];
  float sum[2];
  float o[kWarpTiles][4];
};

template <class Kv>
class Decode {
 public:
  __device__ Decode(const AttentionArgs& args, std::byte* shared)
      : args_(args),
        shared_(*reinterpret_cast<Shared<Kv>*>(shared)),
        work_(args, shared_.work, reinterpret_cast<Sequence*>(shared + kSequencesAt<Kv>),
              kLeastNear<Kv>),
        warp_(static_cast<int>(threadIdx.x / 32)),
        lane_(static_cast<int>(threadIdx.x % 32)) {}

  __device__ DecodeWork<kWarps>& work() { return work_; }

  // The copying warp's, for each work in turn. The first one reads the block table only.
  __device__ std::int64_t Locate(const Work& work) const;
  __device__ void RequestKeys(const Work& work, std::int64_t offset) const;
  __device__ void RequestValues(const Work& work, std::int64_t offset) const;
  __device__ void RefreshNew(const Work& work) const;

  __device__ void LoadQueries(const Work& work, RowFragments& q) const;
  __device__ void Score(const Work& work, const RowFragments& q, float (&s)[kWarpTiles][4]) const;
  __device__ void ShareMax(const float (&s)[kWarpTiles][4], float (&max)[2]) const;
  __device__ void ShareWeights(const float (&s)[kWarpTiles][4], float (&max)[2]) const;
  __device__ void Sum(const Work& work, State& state) const;
  __device__ void WriteResult(const Work& work, const State& state) const;
  __device__ void WritePartial(const Work& work, const State& state) const;
  __device__ void Write(const Work& work, const State& segment, State& state) const;
  __device__ void MergeCutUnits(const Piece& last) const;

  __device__ std::uint32_t keys_ready() const { return SharedAddress(&shared_.keys_ready); }
  __device__ std::uint32_t values_ready() const { return SharedAddress(&shared_.values_ready); }

 private:
  __device__ const Sequence& SequenceOf(const Work& work) const {
    return work_.SequenceOf(work.piece);
  }
  __device__ int Pieces(const Work& work) const {
    return NumPieces(work.segment, SequenceOf(work).last_position);
  }
  __device__ const std::int32_t* BlockTable(const Work& work) const {
    return args_.block_tables + std::int64_t{SequenceOf(work).slot} * args_.max_blocks;
  }

  const AttentionArgs& args_;
  Shared<Kv>& shared_;
  DecodeWork<kWarps> work_;
  const int warp_;
  const int lane_;
};

template <class Kv>
__device__ __forceinline__ std::int64_t Decode<Kv>::Locate(const Work& work) const {
  if (!work.exists()) return 0;
  return PieceOffset(args_, BlockTable(work), work.piece.head, work.segment, Pieces(work));
}

template <class Kv>
__device__ __forceinline__ void Decode<Kv>::RequestKeys(const Work& work,
                                                        std::int64_t offset) const {
  if (!work.exists()) return;
  const int pieces = Pieces(work);
  BeginCopy<Kv>(keys_ready(), pieces);
  CopyPieces<Kv>(args_.keys, offset, SharedAddress(shared_.tiles.keys), keys_ready(), pieces);
  EndCopy(keys_ready());
}

template <class Kv>
__device__ __forceinline__ void Decode<Kv>::RequestValues(const Work& work,
                                                          std::int64_t offset) const {
  if (!work.exists()) return;
  const int pieces = Pieces(work);
  BeginCopy<Kv>(values_ready(), pieces);
  CopyPieces<Kv>(args_.values, offset, SharedAddress(shared_.tiles.values), values_ready(), pieces);
  EndCopy(values_ready());
}

// A block requests its first unit before WaitForPrevious. The kernel before this one writes keys
// and values of the sequence's tokens in this step, and nothing else of the unit: these alone are
// read again, each by the warp that scores its key; all see the values after the next two meetings.
template <class Kv>
__device__ __forceinline__ void Decode<Kv>::RefreshNew(const Work& work) const {
  constexpr int kPieces = Kv::kRowBytes / 16;
  const Sequence& sequence = SequenceOf(work);
  const int first_key = work.segment * kSegmentKeys + warp_ * kWarpKeys;
  const int first = max(first_key, sequence.last_position + 1 - sequence.num_tokens);
  const int end = min(first_key + kWarpKeys, sequence.last_position + 1);
  const bool value = lane_ >= 16;
  std::byte* const tile = value ? shared_.tiles.values : shared_.tiles.keys;
  const auto* const plane =
      static_cast<const typename Kv::Element*>(value ? args_.values : args_.keys);
  for (int position = first; position < end; ++position) {
    const int entry = position / args_.block_tokens;
    const std::int64_t token =
        KvTokenOffset(BlockTable(work)[entry], args_.num_kv_heads, work.piece.head,
                      args_.block_tokens, position - entry * args_.block_tokens);
    const auto* row = reinterpret_cast<const uint4*>(plane + token);
    const uint4 piece = row[lane_ % kPieces];
    WaitBarrier(keys_ready(), 0);
    WaitBarrier(values_ready(), 0);
    auto* to = reinterpret_cast<uint4*>(tile + position % kSegmentKeys * Kv::kRowBytes);
    to[lane_ % kPieces] = piece;
  }
  __syncwarp();
}

template <class Kv>
__device__ __forceinline__ void Decode<Kv>::LoadQueries(const Work& work, RowFragments& q) const {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const __nv_bfloat16* row = args_.q + std::int64_t{work.at[half]} * kHeadDim;
    LoadQueryRow(work.at[half] < 0 ? nullptr : row, half, q);
  }
}

// Masked scores of the warp's keys.
template <class Kv>
__device__ __forceinline__ void Decode<Kv>::Score(const Work& work, const RowFragments& q,
                                                  float (&s)[kWarpTiles][4]) const {
  ScoreKeys<kWarpTiles>(Kv(), q, SharedAddress(shared_.tiles.keys), warp_ * kWarpKeys, s);
  const int first_key = work.segment * kSegmentKeys + warp_ * kWarpKeys;
  const int num_keys[2] = {work.position[0] + 1 - first_key, work.position[1] + 1 - first_key};
  MaskScores<kWarpTiles>(num_keys, s);
}

template <class Kv>
__device__ __forceinline__ void Decode<Kv>::ShareMax(const float (&s)[kWarpTiles][4],
                                                     float (&max)[2]) const {
  MaxScores<kWarpTiles>(s, max);
  if (lane_ % 4 == 0) {
    shared_.max[warp_][lane_ / 4] = max[0];
    shared_.max[warp_][lane_ / 4 + 8] = max[1];
  }
}

// Writes the weights of the warp's keys; max becomes that of all warps, times scale.
template <class Kv>
__device__ __forceinline__ void Decode<Kv>::ShareWeights(const float (&s)[kWarpTiles][4],
                                                         float (&max)[2]) const {
  std::byte* const rows = shared_.weights;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane_ / 4 + half * 8;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) max[half] = fmaxf(max[half], shared_.max[w][row]);
    const float shift = ExponentShift(max[half], args_.scale);
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i) {
      const int piece = KvPiece(warp_ * kWarpTiles + i, row);
      *reinterpret_cast<std::uint32_t*>(rows + row * kRowBytes + piece * 16 + lane_ % 4 * 4) =
          Weights(s[i][half * 2], s[i][half * 2 + 1], args_.scale, shift);
    }
    max[half] = __fmul_rn(max[half], args_.scale);
  }
}

// Sum and values of the segment, whose maxima `state` holds already, for the warp's columns.
template <class Kv>
__device__ __forceinline__ void Decode<Kv>::Sum(const Work& work, State& state) const {
  RowFragments weights;
  const std::uint32_t first =
      SharedAddress(shared_.weights) + lane_ % 16 * kRowBytes + ((lane_ / 16) ^ (lane_ % 8)) * 16;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) LoadMatrices(first ^ (step * 32), weights[step]);
  float sum[4] = {};
  AddWeights<0, kSteps>(weights, sum);
  state.sum[0] = sum[0];
  state.sum[1] = sum[2];
#pragma unroll
  for (auto& o : state.o) {
#pragma unroll
    for (float& value : o) value = 0.0F;
  }
  const std::uint32_t values = SharedAddress(shared_.tiles.values);
  const int num_keys = SequenceOf(work).last_position + 1 - work.segment * kSegmentKeys;
  const int first_piece = warp_ * kWarpTiles;
  if (num_keys >= kSegmentKeys) {
    AddValues<kWarpTiles, 0, kSteps, false>(Kv(), weights, values, first_piece, num_keys, state.o);
  } else {
    AddValues<kWarpTiles, 0, kSteps, true>(Kv(), weights, values, first_piece, num_keys, state.o);
  }
}

template <class Kv>
__device__ __forceinline__ void Decode<Kv>::WriteResult(const Work& work,
                                                        const State& state) const {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (work.at[half] < 0) return;
    __nv_bfloat16* const out =
        args_.out + std::int64_t{work.at[half]} * kHeadDim + warp_ * kWarpKeys + lane_ % 4 * 2;
    const float inverse = Inverse(state.sum[half], args_.value_scale);
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i) {
      *reinterpret_cast<std::uint32_t*>(out + i * 8) =
          Result(state.o[i][half * 2], state.o[i][half * 2 + 1], inverse);
    }
  }
}

template <class Kv>
__device__ __forceinline__ void Decode<Kv>::WritePartial(const Work& work,
                                                         const State& state) const {
  // What was merged from the first segment on stands in the first one's place.
  const int segment = work.piece.segment == 0 ? 0 : work.segment;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (work.at[half] < 0) return;
    const std::int64_t at =
        PartialRow(args_, SequenceOf(work), work.piece.head, lane_ / 4 + half * 8, segment);
    if (warp_ == 0 && lane_ % 4 == 0) {
      PartialStats(args_)[at] = make_float2(state.max[half], state.sum[half]);
    }
    float* const to = PartialValues(args_) + at * kHeadDim + warp_ * kWarpKeys + lane_ % 4 * 2;
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i) {
      *reinterpret_cast<float2*>(to + i * 8) =
          make_float2(state.o[i][half * 2], state.o[i][half * 2 + 1]);
    }
  }
}

__device__ __forceinline__ void MergeState(const State& later, State& state) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const MergeFactors factors = MergeMax(state.max[half], later.max[half]);
    state.sum[half] = Merged(state.sum[half], later.sum[half], factors);
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i) {
#pragma unroll
      for (int c = half * 2; c < half * 2 + 2; ++c) {
        state.o[i][c] = Merged(state.o[i][c], later.o[i][c], factors);
      }
    }
  }
}

// Merges the segment into the state, which a segment of a piece that begins later replaces, and
// writes what is to be written.
template <class Kv>
__device__ __forceinline__ void Decode<Kv>::Write(const Work& work, const State& segment,
                                                  State& state) const {
  if (work.piece.segment > 0 || work.segment == 0) {
    state = segment;
  } else {
    MergeState(segment, state);
  }
  if (work.piece.segment > 0) return WritePartial(work, state);
  if (!work.ends()) return;
  if (work_.IsCut(work.piece)) {
    WritePartial(work, state);
  } else {
    WriteResult(work, state);
  }
}

// Once all of the block's segments are done, of which `last` are the last ones.
template <class Kv>
__device__ __forceinline__ void Decode<Kv>::MergeCutUnits(const Piece& last) const {
  Piece pieces[2];
  work_.CutPieces(last, pieces);
  const Merging<Kv> merge(args_, work_, shared_.merging);
  merge.Tell(pieces);
#pragma unroll 1
  for (int i = 0; i < 2; ++i) merge.Merge(i == 0 ? pieces[0] : pieces[1]);
}

template <class Kv>
__global__ void __launch_bounds__(kThreads, kBlocksOfSm<Kv>)
    DecodeAttentionKernel(const __grid_constant__ AttentionArgs args) {
  extern __shared__ __align__(1024) std::byte shared[];
  AllowNext();
  Decode<Kv> decode(args, shared);
  const bool copies = threadIdx.x < 32;
  if (threadIdx.x == 0) {
    InitBarrier(decode.keys_ready(), CopyArrivals());
    InitBarrier(decode.values_ready(), CopyArrivals());
    PublishBarriers();
  }
  decode.work().ReadSequences();  // all threads meet there, after the barriers are made
  Work work = decode.work().First();
  // One block waits even without work: a kernel's end tells the next one that all before it ended.
  if (!work.exists() && blockIdx.x > 0) return;
  if (copies) {
    const std::int64_t offset = decode.Locate(work);
    decode.RequestKeys(work, offset);
    decode.RequestValues(work, offset);
  }
  WaitForPrevious();

  RowFragments q;
  State state;
  Piece last;
  bool early = true;
  for (std::uint32_t parity = 0; work.exists(); parity ^= 1) {
    if (work.begins()) decode.LoadQueries(work, q);
    if (early) decode.RefreshNew(work);
    early = false;
    const Work next = decode.work().Next(work);
    const std::int64_t next_offset = copies ? decode.Locate(next) : 0;
    State segment;
    float s[kWarpTiles][4];
    WaitBarrier(decode.keys_ready(), parity);
    decode.Score(work, q, s);
    decode.ShareMax(s, segment.max);
    const std::uint32_t scored = __float_as_uint(segment.max[0]) | __float_as_uint(segment.max[1]);
    SyncThreadsAfter(scored, args.zero);  // keys are read, maxima written
    if (copies) decode.RequestKeys(next, next_offset);
    decode.ShareWeights(s, segment.max);
    __syncthreads();  // weights are written
    WaitBarrier(decode.values_ready(), parity);
    decode.Sum(work, segment);
    std::uint32_t landed = 0;
#pragma unroll
    for (int i = 0; i < kWarpTiles; i += 2) landed |= __float_as_uint(segment.o[i][0]);
    SyncThreadsAfter(landed, args.zero);  // values and weights are read
    if (copies) decode.RequestValues(next, next_offset);
    decode.Write(work, segment, state);
    last = work.piece;
    work = next;
  }
  decode.MergeCutUnits(last);
}

template <class Kv>
void Prepare() {
  CUDA_CHECK(cudaFuncSetAttribute(DecodeAttentionKernel<Kv>,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(SharedBytes<Kv>(kMostSequences))));
}

template <class Kv>
void LaunchOver(const AttentionArgs& args, int num_sms, cudaStream_t stream) {
  const std::size_t shared_bytes = SharedBytes<Kv>(args.num_seqs);
  int blocks_of_sm = 0;
  CUDA_CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks_of_sm, DecodeAttentionKernel<Kv>,
                                                           kThreads, shared_bytes));
  const std::int64_t positions = std::int64_t{args.max_blocks} * args.block_tokens;
  const std::int64_t segments =
      (positions + kSegmentKeys - 1) / kSegmentKeys * args.num_seqs * args.num_kv_heads;
  const std::int64_t most = std::int64_t{blocks_of_sm} * num_sms;
  Check(segments * most <= std::numeric_limits<std::uint32_t>::max(),
        "decode attention's blocks count segments in 32 bits");
  Launch(DecodeAttentionKernel<Kv>,
         {.grid = static_cast<unsigned>(segments < most ? segments : most),
          .block = kThreads,
          .shared_bytes = shared_bytes},
         stream, args);
}

}  // namespace

void PrepareDecodeAttention() {
  Prepare<Bf16Kv>();
  Prepare<Fp8Kv>();
}

void LaunchDecodeAttention(const AttentionArgs& args, int num_sms, cudaStream_t stream) {
  Check(args.num_seqs <= kMostSequences, "decode attention's table holds 1024 sequences");
  if (args.fp8) {
    LaunchOver<Fp8Kv>(args, num_sms, stream);
  } else {
    LaunchOver<Bf16Kv>(args, num_sms, stream);
  }
}

}  // namespace thinkwire::worker::kernels
