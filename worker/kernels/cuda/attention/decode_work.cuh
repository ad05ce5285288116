#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"

// Which segments a block of the decode kernel computes (attention_decode.cu says how they are
// shared out). Every block reads all sequences for itself.
namespace thinkwire::worker::kernels {

// A sequence as the block sees it; rows = num_tokens * G.
struct Sequence {
  std::int32_t segments_end;  // segments of this and all earlier sequences
  std::int32_t rows_begin;    // rows times segments of all earlier sequences
  std::int32_t last_position;
  std::int32_t num_tokens;  // 0: no rows, or too many
  std::int32_t first_token;
  std::int32_t slot;

  __device__ int segments() const { return num_tokens == 0 ? 0 : last_position / kSegmentKeys + 1; }
};

// What a block works on: one segment of a unit. All threads agree on all but `at` and `position`,
// which are those of the lane's rows (index: half).
struct Work {
  int unit = 0;
  int seq = -1;  // -1: no more work
  int head = 0;
  int segment = 0;
  int end_segment = 0;  // of the unit
  bool whole = false;   // the unit is all of the sequence's segments
  int at[2] = {};       // the row's place among the T * H of q and out, -1: no such row
  int position[2] = {};
};

// Threads: all of a block of kWarps warps make, read and use theirs together.
template <int kWarps>
class DecodeWork {
 public:
  struct Shared {
    std::int32_t totals[kWarps][2];
  };

  // `sequences` has room for S in shared memory.
  __device__ DecodeWork(const AttentionArgs& args, Shared& shared, Sequence* sequences)
      : args_(args),
        shared_(shared),
        sequences_(sequences),
        lane_(static_cast<int>(threadIdx.x % 32)) {}

  // The block meets in here. REQUIRES: called once, before the others.
  __device__ void ReadSequences();
  // Of the first unit from `unit` on, in steps of the grid, that has work.
  __device__ Work First(int unit) const;
  __device__ Work Next(const Work& work) const;

  __device__ const Sequence& SequenceOf(const Work& work) const { return sequences_[work.seq]; }
  // Where query row `row` of the work stands among the T * H of q and out.
  __device__ int RowAt(const Work& work, int row) const {
    return (SequenceOf(work).first_token + row / args_.group) * args_.num_kv_heads * args_.group +
           work.head * args_.group + row % args_.group;
  }

 private:
  __device__ int UnitsEnd(int seq) const {
    if (seq < num_split_) return sequences_[seq].segments_end;
    return (num_split_ == 0 ? 0 : sequences_[num_split_ - 1].segments_end) + seq - num_split_ + 1;
  }

  const AttentionArgs& args_;
  Shared& shared_;
  Sequence* const sequences_;
  const int lane_;
  int num_split_ = 0;  // sequences whose segments are units; the later ones are whole units
  int num_units_ = 0;
};

// Two running sums over the sequences, 128 at a time: a thread each.
template <int kWarps>
__device__ __forceinline__ void DecodeWork<kWarps>::ReadSequences() {
  constexpr unsigned kAllLanes = 0xFFFFFFFFU;
  const int warp = static_cast<int>(threadIdx.x / 32);
  int segments_before = 0;
  int rows_before = 0;
  for (int base = 0; base < args_.num_seqs; base += kWarps * 32) {
    const int s = base + static_cast<int>(threadIdx.x);
    Sequence sequence = {};
    if (s < args_.num_seqs) {
      sequence.first_token = args_.query_start[s];
      sequence.num_tokens = args_.query_start[s + 1] - sequence.first_token;
      sequence.slot = args_.seq_slot[s];
      if (sequence.num_tokens * args_.group > kTileRows) sequence.num_tokens = 0;
      if (sequence.num_tokens > 0) {
        sequence.last_position = args_.positions[sequence.first_token + sequence.num_tokens - 1];
      }
    }
    const int own_segments = sequence.segments();
    const int own_rows = own_segments * sequence.num_tokens * args_.group;
    int segments = own_segments;
    int rows = own_rows;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int more_segments = __shfl_up_sync(kAllLanes, segments, distance);
      const int more_rows = __shfl_up_sync(kAllLanes, rows, distance);
      if (lane_ >= distance) {
        segments += more_segments;
        rows += more_rows;
      }
    }
    if (lane_ == 31) {
      shared_.totals[warp][0] = segments;
      shared_.totals[warp][1] = rows;
    }
    __syncthreads();
    for (int w = 0; w < kWarps; ++w) {
      if (w == warp) {
        segments += segments_before;
        rows += rows_before;
      }
      segments_before += shared_.totals[w][0];
      rows_before += shared_.totals[w][1];
    }
    sequence.segments_end = segments;
    sequence.rows_begin = rows - own_rows;
    if (s < args_.num_seqs) sequences_[s] = sequence;
    num_split_ +=
        __syncthreads_count(s < args_.num_seqs && std::int64_t{rows} * args_.num_kv_heads <=
                                                      args_.workspace.partial_rows);
  }
  num_units_ = UnitsEnd(args_.num_seqs - 1) * args_.num_kv_heads;
}

// Units count from the last sequence, so that the long whole ones come first.
template <int kWarps>
__device__ __forceinline__ Work DecodeWork<kWarps>::First(int unit) const {
  Work work;
  for (; unit < num_units_; unit += static_cast<int>(gridDim.x)) {
    const int at = (num_units_ - 1 - unit) / args_.num_kv_heads;
    int seq = -1;
    for (int base = 0; seq < 0; base += 32) {
      const int s = base + lane_;
      const unsigned after = __ballot_sync(0xFFFFFFFFU, s < args_.num_seqs && UnitsEnd(s) > at);
      if (after != 0) seq = base + __ffs(static_cast<int>(after)) - 1;
    }
    const int segments = sequences_[seq].segments();
    if (segments == 0) continue;  // a sequence without rows, counted among the whole ones
    const bool split = seq < num_split_;
    work.unit = unit;
    work.seq = seq;
    work.head = (num_units_ - 1 - unit) % args_.num_kv_heads;
    work.segment = split ? at - (seq == 0 ? 0 : UnitsEnd(seq - 1)) : 0;
    work.end_segment = split ? work.segment + 1 : segments;
    work.whole = !split || segments == 1;
    const Sequence& sequence = sequences_[seq];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane_ / 4 + half * 8;
      const bool exists = row < sequence.num_tokens * args_.group;
      work.at[half] = exists ? RowAt(work, row) : -1;
      work.position[half] =
          sequence.last_position + 1 - sequence.num_tokens + (exists ? row / args_.group : 0);
    }
    return work;
  }
  return work;
}

template <int kWarps>
__device__ __forceinline__ Work DecodeWork<kWarps>::Next(const Work& work) const {
  if (work.segment + 1 == work.end_segment) {
    return First(work.unit + static_cast<int>(gridDim.x));
  }
  Work next = work;
  ++next.segment;
  return next;
}

}  // namespace thinkwire::worker::kernels
