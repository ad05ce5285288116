// Attention of sequences with few rows (tokens times G, at most 16), one token in decode.
//
// More than 400 lines: walking a segment and merging segments are two halves of one order of
// addition, and are read together.
//
// Formula: attention_tile.cuh.
//
// Mapping. A unit of work is a sequence, a KV head and a segment of 128 keys; a block of 4 warps
// computes one at a time, its rows padded to one tile of 16. Units are numbered from the sequences'
// last positions, which every block reads and adds up for itself: that is over before the kernel
// may start in earnest, and spares a kernel a step. Block b takes units b, b + blocks, ...
//   scores   warp w: 16 rows x keys 32 w .. 32 w + 31
//   weights  the rows' maxima meet in shared memory, then the weights as bf16
//   values   warp w: 16 rows x columns 32 w .. 32 w + 31 over all keys
// A sequence of one segment is written out at once. Else each segment leaves its max, sum and
// unscaled values in the workspace, and the block that finishes the last one of the sequence and
// head (a counter tells, and is set back for the next launch) merges them in ascending order. Where
// the workspace is too small for all sequences, the later ones of the step are one unit a KV head,
// walked segment after segment with the running result in registers.
//
// Shared memory: 64 KB for keys and values and 5 KB; at most 168 registers: three blocks an SM, so
// that two load while one computes. Keys of the next unit are requested once all warps have their
// scores, values once all have their sums.
//
// Bytes: 2 * 256 a KV head and position, read once; q, out and partials (520 bytes a row and
// segment, written and read in L2) are small beside it. Roof: reading DRAM.
//
// Limits: G at most 16; a block's table of sequences takes 24 bytes each of shared memory.
//
// Tolerance: 1.5 * 2^-8 of sum p |v| against exact arithmetic on the same bf16 inputs, from the
// rounding of p (2^-9, in numerator and denominator) and of the result (2^-9).
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/attention/decode_work.cuh"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/attention/kv_copy.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"

namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * 32;
constexpr int kBlocksOfSm = 3;
constexpr int kWarpKeys = kSegmentKeys / kWarps;  // also a warp's columns of the result
constexpr int kWarpTiles = kWarpKeys / 8;
constexpr int kMergeSegments = 5;  // read at once when partial results are merged

struct Shared {
  alignas(1024) std::byte keys[kTileBytes];
  alignas(1024) std::byte values[kTileBytes];
  alignas(1024) std::byte weights[kTileRows * kRowBytes];  // swizzled as keys are
  float max[kWarps][kTileRows];
  std::uint64_t keys_ready;
  std::uint64_t values_ready;
  DecodeWork<kWarps>::Shared work;
  std::int32_t finished;  // segments of the unit's sequence and head, before this one
};
constexpr int kSequencesAt = (sizeof(Shared) + 15) / 16 * 16;

std::size_t SharedBytes(int num_seqs) {
  return kSequencesAt + static_cast<std::size_t>(num_seqs) * sizeof(Sequence);
}

// The running result of a warp's rows and columns. Index of max and sum: half.
struct State {
  float max[2];
  float sum[2];
  float o[kWarpTiles][4];
};

// Reads of what other blocks wrote: from L2, and never moved over a fence.
__device__ __forceinline__ float2 ReadStats(const float2* from) {
  float2 v;
  asm volatile("ld.global.cg.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "l"(from) : "memory");
  return v;
}
__device__ __forceinline__ float4 ReadValues(const float* from) {
  float4 v;
  asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
               : "l"(from)
               : "memory");
  return v;
}

class Decode {
 public:
  __device__ Decode(const AttentionArgs& args, std::byte* shared)
      : args_(args),
        shared_(*reinterpret_cast<Shared*>(shared)),
        work_(args, shared_.work, reinterpret_cast<Sequence*>(shared + kSequencesAt)),
        warp_(static_cast<int>(threadIdx.x / 32)),
        lane_(static_cast<int>(threadIdx.x % 32)) {}

  __device__ DecodeWork<kWarps>& work() { return work_; }

  // The copying warp's, for each work in turn. The first one reads the block table only.
  __device__ std::int64_t Locate(const Work& work) const;
  __device__ void RequestKeys(const Work& work, std::int64_t offset) const;
  __device__ void RequestValues(const Work& work, std::int64_t offset) const;
  __device__ void RefreshNew(const Work& work, std::uint32_t parity) const;

  __device__ void LoadQueries(const Work& work, RowFragments& q) const;
  __device__ void Score(const Work& work, const RowFragments& q, float (&s)[kWarpTiles][4]) const;
  __device__ void ShareMax(const float (&s)[kWarpTiles][4], float (&max)[2]) const;
  __device__ void ShareWeights(const float (&s)[kWarpTiles][4], float (&max)[2]) const;
  __device__ void Sum(const Work& work, State& state) const;
  __device__ void WriteResult(const Work& work, const State& state) const;
  __device__ void WritePartial(const Work& work, const State& state) const;
  __device__ bool IsLast(const Work& work) const;
  __device__ void MergePartials(const Work& work) const;

  __device__ std::uint32_t keys_ready() const { return SharedAddress(&shared_.keys_ready); }
  __device__ std::uint32_t values_ready() const { return SharedAddress(&shared_.values_ready); }

 private:
  __device__ const Sequence& SequenceOf(const Work& work) const { return work_.SequenceOf(work); }
  __device__ int Rows(const Work& work) const { return SequenceOf(work).num_tokens * args_.group; }
  __device__ int Pieces(const Work& work) const {
    return NumPieces(work.segment, SequenceOf(work).last_position);
  }
  __device__ const std::int32_t* BlockTable(const Work& work) const {
    return args_.block_tables + std::int64_t{SequenceOf(work).slot} * args_.max_blocks;
  }
  // Where row `row` of segment 0 lies among the partial results; segments are Rows apart.
  __device__ std::int64_t PartialRow(const Work& work, int row) const {
    const Sequence& sequence = SequenceOf(work);
    return std::int64_t{sequence.rows_begin} * args_.num_kv_heads +
           std::int64_t{work.head} * sequence.segments() * Rows(work) + row;
  }
  __device__ float2* PartialStats() const {
    return reinterpret_cast<float2*>(args_.workspace.partials);
  }
  __device__ float* PartialValues() const {
    return args_.workspace.partials + args_.workspace.partial_rows * 2;
  }

  const AttentionArgs& args_;
  Shared& shared_;
  DecodeWork<kWarps> work_;
  const int warp_;
  const int lane_;
};

__device__ std::int64_t Decode::Locate(const Work& work) const {
  if (work.seq < 0) return 0;
  return PieceOffset(args_, BlockTable(work), work.head, work.segment, Pieces(work));
}

__device__ void Decode::RequestKeys(const Work& work, std::int64_t offset) const {
  if (work.seq < 0) return;
  const int pieces = Pieces(work);
  BeginCopy(keys_ready(), pieces);
  CopyPieces(args_.keys, offset, SharedAddress(shared_.keys), keys_ready(), pieces);
  EndCopy(keys_ready());
}

__device__ void Decode::RequestValues(const Work& work, std::int64_t offset) const {
  if (work.seq < 0) return;
  const int pieces = Pieces(work);
  BeginCopy(values_ready(), pieces);
  CopyPieces(args_.values, offset, SharedAddress(shared_.values), values_ready(), pieces);
  EndCopy(values_ready());
}

// A block requests its first unit before WaitForPrevious. The kernel before this one writes keys
// and values of the sequence's tokens in this step, and nothing else of the unit: these alone are
// read again, each by the warp that scores its key; all see the values after the next two meetings.
__device__ void Decode::RefreshNew(const Work& work, std::uint32_t parity) const {
  const Sequence& sequence = SequenceOf(work);
  const int first_key = work.segment * kSegmentKeys + warp_ * kWarpKeys;
  const int first = max(first_key, sequence.last_position + 1 - sequence.num_tokens);
  const int end = min(first_key + kWarpKeys, sequence.last_position + 1);
  const bool value = lane_ >= 16;
  std::byte* const tile = value ? shared_.values : shared_.keys;
  for (int position = first; position < end; ++position) {
    const int entry = position / args_.block_tokens;
    const std::int64_t token =
        KvTokenOffset(BlockTable(work)[entry], args_.num_kv_heads, work.head, args_.block_tokens,
                      position - entry * args_.block_tokens);
    const auto* row = reinterpret_cast<const uint4*>((value ? args_.values : args_.keys) + token);
    const uint4 piece = row[lane_ % 16];
    WaitBarrier(keys_ready(), parity);
    WaitBarrier(values_ready(), parity);
    auto* to = reinterpret_cast<uint4*>(tile + position % kSegmentKeys * kRowBytes);
    to[lane_ % 16] = piece;
  }
  __syncwarp();
}

__device__ void Decode::LoadQueries(const Work& work, RowFragments& q) const {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const __nv_bfloat16* row = args_.q + std::int64_t{work.at[half]} * kHeadDim;
    LoadQueryRow(work.at[half] < 0 ? nullptr : row, half, q);
  }
}

// Masked scores of the warp's keys.
__device__ void Decode::Score(const Work& work, const RowFragments& q,
                              float (&s)[kWarpTiles][4]) const {
  ScoreKeys<kWarpTiles>(q, SharedAddress(shared_.keys), warp_ * kWarpKeys, s);
  const int first_key = work.segment * kSegmentKeys + warp_ * kWarpKeys;
  const int num_keys[2] = {work.position[0] + 1 - first_key, work.position[1] + 1 - first_key};
  MaskScores<kWarpTiles>(num_keys, s);
}

__device__ void Decode::ShareMax(const float (&s)[kWarpTiles][4], float (&max)[2]) const {
  MaxScores<kWarpTiles>(s, max);
  if (lane_ % 4 == 0) {
    shared_.max[warp_][lane_ / 4] = max[0];
    shared_.max[warp_][lane_ / 4 + 8] = max[1];
  }
}

// Writes the weights of the warp's keys; max becomes that of all warps, times scale.
__device__ void Decode::ShareWeights(const float (&s)[kWarpTiles][4], float (&max)[2]) const {
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
__device__ void Decode::Sum(const Work& work, State& state) const {
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
  const std::uint32_t values = SharedAddress(shared_.values);
  const int num_keys = SequenceOf(work).last_position + 1 - work.segment * kSegmentKeys;
  const int first_piece = warp_ * kWarpTiles;
  if (num_keys >= kSegmentKeys) {
    AddValues<kWarpTiles, 0, kSteps, false>(weights, values, first_piece, num_keys, state.o);
  } else {
    AddValues<kWarpTiles, 0, kSteps, true>(weights, values, first_piece, num_keys, state.o);
  }
}

__device__ void Decode::WriteResult(const Work& work, const State& state) const {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (work.at[half] < 0) return;
    __nv_bfloat16* const out =
        args_.out + std::int64_t{work.at[half]} * kHeadDim + warp_ * kWarpKeys + lane_ % 4 * 2;
    const float inverse = Inverse(state.sum[half]);
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i) {
      *reinterpret_cast<std::uint32_t*>(out + i * 8) =
          Result(state.o[i][half * 2], state.o[i][half * 2 + 1], inverse);
    }
  }
}

__device__ void Decode::WritePartial(const Work& work, const State& state) const {
  const int rows = Rows(work);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane_ / 4 + half * 8;
    if (row >= rows) return;
    const std::int64_t at = PartialRow(work, row) + std::int64_t{work.segment} * rows;
    if (warp_ == 0 && lane_ % 4 == 0) {
      PartialStats()[at] = make_float2(state.max[half], state.sum[half]);
    }
    float* const to = PartialValues() + at * kHeadDim + warp_ * kWarpKeys + lane_ % 4 * 2;
#pragma unroll
    for (int i = 0; i < kWarpTiles; ++i) {
      *reinterpret_cast<float2*>(to + i * 8) =
          make_float2(state.o[i][half * 2], state.o[i][half * 2 + 1]);
    }
  }
}

// After all threads wrote their partial results and met. Whether this is the segment that completes
// its sequence and head: then the others' results are visible here.
__device__ bool Decode::IsLast(const Work& work) const {
  if (threadIdx.x == 0) {
    std::int32_t* const counter =
        args_.workspace.counters + work.seq * args_.num_kv_heads + work.head;
    __threadfence();
    shared_.finished = atomicAdd(counter, 1);
    if (shared_.finished == SequenceOf(work).segments() - 1) *counter = 0;
    __threadfence();
  }
  __syncthreads();
  return shared_.finished == SequenceOf(work).segments() - 1;
}

// Half a warp a row, eight columns a lane. Reads of several segments are under way together.
__device__ void Decode::MergePartials(const Work& work) const {
  const int rows = Rows(work);
  const int segments = SequenceOf(work).segments();
  const int column = lane_ % 16 * 8;
  for (int row = warp_ * 2 + lane_ / 16; row < rows; row += kWarps * 2) {
    const std::int64_t begin = PartialRow(work, row);
    float max = 0.0F;
    float sum = 0.0F;
    float o[8] = {};
    for (int base = 0; base < segments; base += kMergeSegments) {
      float2 stats[kMergeSegments];
      float4 values[kMergeSegments][2];
#pragma unroll
      for (int i = 0; i < kMergeSegments; ++i) {
        if (base + i >= segments) break;
        const std::int64_t at = begin + std::int64_t{base + i} * rows;
        const float* from = PartialValues() + at * kHeadDim + column;
        stats[i] = ReadStats(PartialStats() + at);
        values[i][0] = ReadValues(from);
        values[i][1] = ReadValues(from + 4);
      }
#pragma unroll
      for (int i = 0; i < kMergeSegments; ++i) {
        if (base + i >= segments) break;
        const float later[8] = {values[i][0].x, values[i][0].y, values[i][0].z, values[i][0].w,
                                values[i][1].x, values[i][1].y, values[i][1].z, values[i][1].w};
        if (base + i == 0) {
          max = stats[i].x;
          sum = stats[i].y;
#pragma unroll
          for (int c = 0; c < 8; ++c) o[c] = later[c];
          continue;
        }
        const MergeFactors factors = MergeMax(max, stats[i].x);
        sum = Merged(sum, stats[i].y, factors);
#pragma unroll
        for (int c = 0; c < 8; ++c) o[c] = Merged(o[c], later[c], factors);
      }
    }
    const float inverse = Inverse(sum);
    uint4 result;
    result.x = Result(o[0], o[1], inverse);
    result.y = Result(o[2], o[3], inverse);
    result.z = Result(o[4], o[5], inverse);
    result.w = Result(o[6], o[7], inverse);
    __nv_bfloat16* const out = args_.out + std::int64_t{work_.RowAt(work, row)} * kHeadDim + column;
    *reinterpret_cast<uint4*>(out) = result;
  }
}

__device__ void MergeState(const State& later, State& state) {
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

__global__ void __launch_bounds__(kThreads, kBlocksOfSm)
    DecodeAttentionKernel(const __grid_constant__ AttentionArgs args) {
  extern __shared__ __align__(1024) std::byte shared[];
  AllowNext();
  Decode decode(args, shared);
  const bool copies = threadIdx.x < 32;
  if (threadIdx.x == 0) {
    InitBarrier(decode.keys_ready(), CopyArrivals());
    InitBarrier(decode.values_ready(), CopyArrivals());
    PublishBarriers();
  }
  decode.work().ReadSequences();  // all threads meet there, after the barriers are made
  Work work = decode.work().First(static_cast<int>(blockIdx.x));
  // One block waits even without work: a kernel's end tells the next one that all before it ended.
  if (work.seq < 0 && blockIdx.x > 0) return;
  if (copies) {
    const std::int64_t offset = decode.Locate(work);
    decode.RequestKeys(work, offset);
    decode.RequestValues(work, offset);
  }
  WaitForPrevious();

  State state;
  bool early = true;
  for (std::uint32_t parity = 0; work.seq >= 0; parity ^= 1) {
    RowFragments q;
    decode.LoadQueries(work, q);
    if (early) decode.RefreshNew(work, parity);
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
    if (work.segment == 0 || !work.whole) {
      state = segment;
    } else {
      MergeState(segment, state);
    }
    if (!work.whole) {
      decode.WritePartial(work, state);
    } else if (work.segment + 1 == work.end_segment) {
      decode.WriteResult(work, state);
    }
    std::uint32_t landed = 0;
#pragma unroll
    for (int i = 0; i < kWarpTiles; i += 2) landed |= __float_as_uint(segment.o[i][0]);
    SyncThreadsAfter(landed, args.zero);  // values and weights are read, partial results written
    if (copies) decode.RequestValues(next, next_offset);
    if (!work.whole && decode.IsLast(work)) decode.MergePartials(work);
    work = next;
  }
}

}  // namespace

void PrepareDecodeAttention() {
  CUDA_CHECK(cudaFuncSetAttribute(DecodeAttentionKernel,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(SharedBytes(1024))));
}

void LaunchDecodeAttention(const AttentionArgs& args, int num_sms, cudaStream_t stream) {
  Check(args.num_seqs <= 1024, "decode attention's table holds 1024 sequences");
  const std::int64_t positions = std::int64_t{args.max_blocks} * args.block_tokens;
  const std::int64_t units =
      (positions + kSegmentKeys - 1) / kSegmentKeys * args.num_seqs * args.num_kv_heads;
  const std::int64_t most = std::int64_t{kBlocksOfSm} * num_sms;
  Launch(DecodeAttentionKernel,
         {.grid = static_cast<unsigned>(units < most ? units : most),
          .block = kThreads,
          .shared_bytes = SharedBytes(args.num_seqs)},
         stream, args);
}

}  // namespace thinkwire::worker::kernels
