#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/attention/decode_work.cuh"

// Merging of units that several blocks of the decode kernel share.
//
// A partial result is max, sum and unscaled values of a row. The unit's first block leaves one of
// all its segments, the others one a segment, and each adds to the unit's counter how many segments
// are there. Once all are, the blocks share the unit's columns (of all rows, 128 a row) out among
// them, and each merges its columns in ascending order. Then each counts once more, and the last
// one's count sets the counter back to 0 for the next launch.
//
// What is a chain is only two operations a partial result: the factors of all merges follow from
// running maxima, which a warp finds 32 at a time. Partial results come by asynchronous copies, as
// many at once as shared memory holds, for it is their latency that takes time: 64 of them, read
// five at a time by one block, took 9 of 17 us.
namespace thinkwire::worker::kernels {

inline constexpr int kMergeColumns = 256;  // merged at a time, two a thread
inline constexpr int kMergeRows = 3;       // that they lie in, at most
inline constexpr int kMostMerged = 256;    // partial results at a time

// One merge of a row.
struct MergeStep {
  MergeFactors factors;
  float sum;  // the later one
};

// [partial rows] max and sum, and [partial rows, D].
__device__ __forceinline__ float2* PartialStats(const AttentionArgs& args) {
  return reinterpret_cast<float2*>(args.workspace.partials);
}
__device__ __forceinline__ float* PartialValues(const AttentionArgs& args) {
  return args.workspace.partials + args.workspace.partial_rows * 2;
}
// Where row `row` of a segment of the sequence's KV head `head` lies among them.
__device__ __forceinline__ std::int64_t PartialRow(const AttentionArgs& args,
                                                   const Sequence& sequence, int head, int row,
                                                   int segment) {
  return std::int64_t{sequence.rows_begin} * args.num_kv_heads +
         (std::int64_t{head} * sequence.segments() + segment) * sequence.num_tokens * args.group +
         row;
}

// Threads: all of a block of kWarps warps use it together, at the end of the kernel: then the
// memory is nobody else's.
template <int kWarps, int kFloats>
class DecodeMerge {
 public:
  struct Memory {
    float values[kFloats];  // [partial results, columns]
    MergeStep steps[kMergeRows][kMostMerged];
  };

  __device__ DecodeMerge(const AttentionArgs& args, const DecodeWork<kWarps>& work, Memory& memory)
      : args_(args), work_(work), memory_(memory) {}

  // That this block's partial results of these pieces are written (seq < 0: there is none).
  __device__ void Tell(const Piece (&pieces)[2]) const;
  // Waits for the other blocks' and writes this one's share of the unit's result.
  __device__ void Merge(const Piece& piece) const;

 private:
  static constexpr int kThreads = kWarps * 32;

  // Columns [begin, end) of a unit, multiples of 4: a share, or a part of it.
  struct Columns {
    int begin;
    int end;
    __device__ int count() const { return end - begin; }
    __device__ int first_row() const { return begin / kHeadDim; }
    __device__ int rows() const { return (end - 1) / kHeadDim - first_row() + 1; }
  };
  // A thread's two columns.
  struct Merged2 {
    float2 o;
    float sum;
  };

  __device__ int Rows(const Piece& piece) const {
    return work_.SequenceOf(piece).num_tokens * args_.group;
  }
  __device__ std::int64_t RowOf(const Piece& piece, int row, int segment) const {
    return PartialRow(args_, work_.SequenceOf(piece), piece.head, row, segment);
  }
  __device__ std::uint32_t* Counter(const Piece& piece) const {
    return args_.workspace.counters + piece.seq * args_.num_kv_heads + piece.head;
  }
  __device__ static int SegmentOf(const UnitShare& share, int partial) {
    return partial == 0 ? 0 : share.prefix - 1 + partial;
  }
  __device__ void AwaitSegments(const Piece& piece) const;
  __device__ void MergeColumnsOf(const Piece& piece, const UnitShare& share,
                                 const Columns& columns) const;
  __device__ void RequestValues(const Piece& piece, const UnitShare& share, const Columns& columns,
                                int first, int count) const;
  __device__ void FindSteps(const Piece& piece, const UnitShare& share, int row, int first,
                            int count, float& max, MergeStep* steps) const;
  __device__ void MergeSteps(const Columns& columns, int first, int count, Merged2& merged) const;
  __device__ void WriteColumns(const Piece& piece, const Columns& columns,
                               const Merged2& merged) const;

  const AttentionArgs& args_;
  const DecodeWork<kWarps>& work_;
  Memory& memory_;
};

template <int kWarps, int kFloats>
__device__ __forceinline__ void DecodeMerge<kWarps, kFloats>::Tell(const Piece (&pieces)[2]) const {
  if (pieces[0].seq < 0 && pieces[1].seq < 0) return;
  __syncthreads();
  if (threadIdx.x > 0) return;
  asm volatile("fence.acq_rel.gpu;" ::: "memory");
  for (const Piece& piece : pieces) {
    if (piece.seq >= 0) atomicAdd(Counter(piece), piece.end - piece.segment);
  }
}

template <int kWarps, int kFloats>
__device__ __forceinline__ void DecodeMerge<kWarps, kFloats>::AwaitSegments(
    const Piece& piece) const {
  if (threadIdx.x == 0) {
    const auto segments = static_cast<std::uint32_t>(work_.SequenceOf(piece).segments());
    std::uint32_t there = 0;
    do {
      asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                   : "=r"(there)
                   : "l"(__cvta_generic_to_global(Counter(piece)))
                   : "memory");
    } while (there < segments);
  }
  __syncthreads();
}

template <int kWarps, int kFloats>
__device__ __forceinline__ void DecodeMerge<kWarps, kFloats>::Merge(const Piece& piece) const {
  if (piece.seq < 0) return;
  const UnitShare share = work_.ShareOf(piece);
  AwaitSegments(piece);
  const int fours = Rows(piece) * kHeadDim / 4;
  const int end = 4 * ((share.block + 1) * fours / share.blocks);
  for (int begin = 4 * (share.block * fours / share.blocks); begin < end; begin += kMergeColumns) {
    MergeColumnsOf(piece, share, {begin, min(begin + kMergeColumns, end)});
  }
  // Back to 0 by the last block's.
  if (threadIdx.x == 0) {
    atomicInc(Counter(piece), work_.SequenceOf(piece).segments() + share.blocks - 1);
  }
}

template <int kWarps, int kFloats>
__device__ __forceinline__ void DecodeMerge<kWarps, kFloats>::MergeColumnsOf(
    const Piece& piece, const UnitShare& share, const Columns& columns) const {
  const int partials = work_.SequenceOf(piece).segments() - share.prefix + 1;
  const int most = min(kMostMerged, kFloats / columns.count());
  const int warp = static_cast<int>(threadIdx.x / 32);
  Merged2 merged = {};
  float max = 0.0F;
  for (int first = 0; first < partials; first += most) {
    const int count = min(most, partials - first);
    RequestValues(piece, share, columns, first, count);
    if (warp < columns.rows()) {
      FindSteps(piece, share, columns.first_row() + warp, first, count, max, memory_.steps[warp]);
    }
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
    MergeSteps(columns, first, count, merged);
    __syncthreads();
  }
  WriteColumns(piece, columns, merged);
}

template <int kWarps, int kFloats>
__device__ __forceinline__ void DecodeMerge<kWarps, kFloats>::RequestValues(const Piece& piece,
                                                                            const UnitShare& share,
                                                                            const Columns& columns,
                                                                            int first,
                                                                            int count) const {
  const int fours = columns.count() / 4;
  for (int i = static_cast<int>(threadIdx.x); i < count * fours; i += kThreads) {
    const int partial = i / fours;
    const int column = columns.begin + 4 * (i - partial * fours);
    const std::int64_t at = RowOf(piece, column / kHeadDim, SegmentOf(share, first + partial));
    asm volatile(
        "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(SharedAddress(memory_.values + 4 * i)),
        "l"(__cvta_generic_to_global(PartialValues(args_) + at * kHeadDim + column % kHeadDim))
        : "memory");
  }
}

// One warp. `max` is the maximum before partial result `first`, then the one after the last.
template <int kWarps, int kFloats>
__device__ __forceinline__ void DecodeMerge<kWarps, kFloats>::FindSteps(const Piece& piece,
                                                                        const UnitShare& share,
                                                                        int row, int first,
                                                                        int count, float& max,
                                                                        MergeStep* steps) const {
  constexpr unsigned kAllLanes = 0xFFFFFFFFU;
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int base = 0; base < count; base += 32) {
    const int i = base + lane;
    float2 stats = make_float2(MinusInfinity(), 0.0F);
    if (i < count) {
      stats = __ldcg(PartialStats(args_) + RowOf(piece, row, SegmentOf(share, first + i)));
    }
    if (first + i == 0) max = stats.x;
    max = __shfl_sync(kAllLanes, max, 0);
    float running = stats.x;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const float earlier = __shfl_up_sync(kAllLanes, running, distance);
      if (lane >= distance) running = fmaxf(earlier, running);
    }
    running = fmaxf(max, running);
    float before = __shfl_up_sync(kAllLanes, running, 1);
    if (lane == 0) before = max;
    if (i < count) steps[i] = {.factors = MergeMax(before, stats.x), .sum = stats.y};
    max = __shfl_sync(kAllLanes, running, 31);
  }
}

template <int kWarps, int kFloats>
__device__ __forceinline__ void DecodeMerge<kWarps, kFloats>::MergeSteps(const Columns& columns,
                                                                         int first, int count,
                                                                         Merged2& merged) const {
  const int at = 2 * static_cast<int>(threadIdx.x);
  if (at >= columns.count()) return;
  const MergeStep* const steps =
      memory_.steps[(columns.begin + at) / kHeadDim - columns.first_row()];
  const float* const values = memory_.values + at;
#pragma unroll 4
  for (int i = 0; i < count; ++i) {
    const MergeStep step = steps[i];
    const float2 later = *reinterpret_cast<const float2*>(values + i * columns.count());
    if (first + i == 0) {
      merged = {later, step.sum};
      continue;
    }
    merged.sum = Merged(merged.sum, step.sum, step.factors);
    merged.o.x = Merged(merged.o.x, later.x, step.factors);
    merged.o.y = Merged(merged.o.y, later.y, step.factors);
  }
}

template <int kWarps, int kFloats>
__device__ __forceinline__ void DecodeMerge<kWarps, kFloats>::WriteColumns(
    const Piece& piece, const Columns& columns, const Merged2& merged) const {
  const int at = columns.begin + 2 * static_cast<int>(threadIdx.x);
  if (at >= columns.end) return;
  __nv_bfloat16* const out =
      args_.out + std::int64_t{work_.RowAt(piece, at / kHeadDim)} * kHeadDim + at % kHeadDim;
  *reinterpret_cast<std::uint32_t*>(out) =
      Result(merged.o.x, merged.o.y, Inverse(merged.sum, args_.value_scale));
}

}  // namespace thinkwire::worker::kernels
