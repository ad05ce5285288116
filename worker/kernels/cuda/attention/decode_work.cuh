#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"

// Which segments a block of the decode kernel computes. A unit is a sequence's KV head; units stand
// one after the other, sequence by sequence, and the blocks that have work share their segments out
// evenly, each a range of them in a row. A border between two blocks that would fall near a unit's
// end moves there: what a block has more to read costs less than handing results on, as blocks that
// read alone read faster. Near is a quarter of a block's share, or `least_near` segments, but no
// more than three quarters of the share. Units without room for partial results are never cut.
// Every block reads all sequences for itself.
namespace thinkwire::worker::kernels {

// A sequence as the block sees it; rows = num_tokens * G.
struct Sequence {
  std::int32_t segments_end;  // segments of this and all earlier sequences, of one KV head
  std::int32_t rows_begin;    // rows times segments of all earlier sequences
  std::int32_t last_position;
  std::int32_t num_tokens;  // 0: no rows, or too many
  std::int32_t first_token;
  std::int32_t slot;

  __device__ int segments() const { return num_tokens == 0 ? 0 : last_position / kSegmentKeys + 1; }
};

// Segments [segment, end) of a unit that a block computes one after the other.
struct Piece {
  int seq = -1;  // -1: none
  int head = 0;
  int segment = 0;
  int end = 0;
};

// The segment that a block is at. All threads agree on all but `at` and `position`, which are those
// of the lane's rows (index: half).
struct Work {
  Piece piece;
  int segment = 0;
  int left = 0;    // segments of the block after the piece
  int at[2] = {};  // the row's place among the T * H of q and out, -1: no such row
  int position[2] = {};

  __device__ bool exists() const { return piece.seq >= 0; }
  __device__ bool begins() const { return segment == piece.segment; }
  __device__ bool ends() const { return segment + 1 == piece.end; }
};

// Which blocks share a unit that is cut.
struct UnitShare {
  int blocks;  // at least 2
  int block;   // this one's place among them
  int prefix;  // segments of the first of them
};

// Threads: all of a block of kWarps warps make, read and use theirs together.
template <int kWarps>
class DecodeWork {
 public:
  struct Shared {
    std::int32_t totals[kWarps][2];
    Piece first;  // of the block
  };

  // `sequences` has room for S in shared memory. `least_near`: so many segments from a unit's end
  // are near in any case, unless they are most of a share.
  __device__ DecodeWork(const AttentionArgs& args, Shared& shared, Sequence* sequences,
                        int least_near)
      : args_(args),
        shared_(shared),
        sequences_(sequences),
        least_near_(least_near),
        lane_(static_cast<int>(threadIdx.x % 32)) {}

  // The block meets in here. REQUIRES: called once, before the others.
  __device__ void ReadSequences();
  // REQUIRES: called once.
  __device__ Work First() const;
  __device__ Work Next(const Work& work) const;

  __device__ const Sequence& SequenceOf(const Piece& piece) const { return sequences_[piece.seq]; }
  __device__ bool IsCut(const Piece& piece) const {
    return piece.segment > 0 || piece.end < SequenceOf(piece).segments();
  }
  // This block's pieces that are cut, given its last one; seq < 0: it has none, or one alone. The
  // block has met since First.
  __device__ void CutPieces(const Piece& last, Piece (&pieces)[2]) const;
  // REQUIRES: the piece is cut.
  __device__ UnitShare ShareOf(const Piece& piece) const;

  // Where query row `row` of the piece stands among the T * H of q and out.
  __device__ int RowAt(const Piece& piece, int row) const {
    return (SequenceOf(piece).first_token + row / args_.group) * args_.num_kv_heads * args_.group +
           piece.head * args_.group + row % args_.group;
  }

 private:
  __device__ int SegmentsBefore(int seq) const {
    return seq == 0 ? 0 : sequences_[seq - 1].segments_end;
  }
  // The segment at place `at` of all, alone. REQUIRES: there is one.
  __device__ Piece Find(std::uint32_t at) const;
  // The sequence in whose units it lies.
  __device__ int FindSequence(std::uint32_t at) const;
  __device__ int UnitBegin(const Piece& piece) const {
    return SegmentsBefore(piece.seq) * args_.num_kv_heads +
           piece.head * SequenceOf(piece).segments();
  }
  __device__ std::uint32_t Border(std::uint32_t block) const {
    return block * num_segments_ / num_blocks_;
  }
  // The first block whose border is at `at` or later.
  __device__ std::uint32_t BlockFrom(std::uint32_t at) const {
    return (at * num_blocks_ + num_segments_ - 1) / num_segments_;
  }
  // What a border has to move by, if it falls on the segment `at`.
  __device__ int Move(const Piece& at) const;
  __device__ void SetRows(Work& work) const;

  const AttentionArgs& args_;
  Shared& shared_;
  Sequence* const sequences_;
  const int least_near_;
  const int lane_;
  int num_splittable_ = 0;          // sequences whose partial results have room
  std::uint32_t num_segments_ = 0;  // of all units; times blocks it fits in 32 bits
  std::uint32_t num_blocks_ = 0;    // that have work
  int near_ = 0;                    // so many segments from a unit's end a border moves there
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
    num_splittable_ +=
        __syncthreads_count(s < args_.num_seqs && std::int64_t{rows} * args_.num_kv_heads <=
                                                      args_.workspace.partial_rows);
  }
  num_segments_ = static_cast<std::uint32_t>(segments_before * args_.num_kv_heads);
  num_blocks_ = min(num_segments_, gridDim.x);
  if (num_blocks_ > 0) {
    const int share = static_cast<int>(num_segments_ / num_blocks_);
    const int most = static_cast<int>(3 * num_segments_ / (4 * num_blocks_));
    near_ = min(most, max(share / 4, least_near_));
  }
}

// At most 1,024 of them: first among the last ones of every 32.
template <int kWarps>
__device__ __forceinline__ int DecodeWork<kWarps>::FindSequence(std::uint32_t at) const {
  int first = 0;
#pragma unroll
  for (int stride = 32; stride >= 1; stride /= 32) {
    const int s = min(first + lane_ * stride + stride - 1, args_.num_seqs - 1);
    const auto end = static_cast<std::uint32_t>(sequences_[s].segments_end * args_.num_kv_heads);
    first += stride * (__ffs(static_cast<int>(__ballot_sync(0xFFFFFFFFU, end > at))) - 1);
  }
  return first;
}

template <int kWarps>
__device__ __forceinline__ Piece DecodeWork<kWarps>::Find(std::uint32_t at) const {
  Piece piece;
  piece.seq = FindSequence(at);
  const int within = static_cast<int>(at) - SegmentsBefore(piece.seq) * args_.num_kv_heads;
  const int segments = SequenceOf(piece).segments();
  piece.head = within / segments;
  piece.segment = within - piece.head * segments;
  piece.end = piece.segment + 1;
  return piece;
}

template <int kWarps>
__device__ __forceinline__ int DecodeWork<kWarps>::Move(const Piece& at) const {
  const int before = at.segment;
  const int after = SequenceOf(at).segments() - before;
  if (at.seq < num_splittable_ && min(before, after) > near_) return 0;
  return before <= after ? -before : after;
}

template <int kWarps>
__device__ __forceinline__ Work DecodeWork<kWarps>::First() const {
  Work work;
  if (blockIdx.x >= num_blocks_) return work;
  const std::uint32_t begin_border = Border(blockIdx.x);
  const std::uint32_t end_border = Border(blockIdx.x + 1);
  const Piece at = Find(begin_border);
  const int begin = static_cast<int>(begin_border) + Move(at);
  int end = static_cast<int>(end_border);
  if (end_border < num_segments_) end += Move(Find(end_border));
  if (begin == end) return work;
  work.piece = begin == static_cast<int>(begin_border) ? at : Find(begin);
  work.segment = work.piece.segment;
  const int unit_left = SequenceOf(work.piece).segments() - work.segment;
  work.piece.end = work.segment + min(unit_left, end - begin);
  work.left = max(0, end - begin - unit_left);
  SetRows(work);
  if (threadIdx.x == 0) shared_.first = work.piece;
  return work;
}

template <int kWarps>
__device__ __forceinline__ Work DecodeWork<kWarps>::Next(const Work& work) const {
  Work next = work;
  ++next.segment;
  if (!work.ends()) return next;
  Piece& piece = next.piece;
  if (work.left == 0) {
    piece.seq = -1;
    return next;
  }
  if (++piece.head == args_.num_kv_heads) {
    piece.head = 0;
    do {
      ++piece.seq;
    } while (SequenceOf(piece).segments() == 0);
  }
  next.segment = 0;
  piece.segment = 0;
  piece.end = min(SequenceOf(piece).segments(), work.left);
  next.left -= piece.end;
  SetRows(next);
  return next;
}

template <int kWarps>
__device__ __forceinline__ void DecodeWork<kWarps>::SetRows(Work& work) const {
  const Sequence& sequence = SequenceOf(work.piece);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane_ / 4 + half * 8;
    const bool exists = row < sequence.num_tokens * args_.group;
    work.at[half] = exists ? RowAt(work.piece, row) : -1;
    work.position[half] =
        sequence.last_position + 1 - sequence.num_tokens + (exists ? row / args_.group : 0);
  }
}

template <int kWarps>
__device__ __forceinline__ void DecodeWork<kWarps>::CutPieces(const Piece& last,
                                                              Piece (&pieces)[2]) const {
  if (last.seq < 0) return;
  pieces[0] = shared_.first;
  if (pieces[0].seq != last.seq || pieces[0].head != last.head) pieces[1] = last;
  for (Piece& piece : pieces) {
    if (piece.seq >= 0 && !IsCut(piece)) piece.seq = -1;
  }
}

// Borders within the unit that did not move are those more than near_ from both of its ends.
template <int kWarps>
__device__ __forceinline__ UnitShare DecodeWork<kWarps>::ShareOf(const Piece& piece) const {
  const int begin = UnitBegin(piece);
  const int end = begin + SequenceOf(piece).segments();
  const auto second = static_cast<int>(BlockFrom(begin + near_ + 1));
  const auto past = static_cast<int>(BlockFrom(end - near_));
  return {.blocks = past - second + 1,
          .block = static_cast<int>(blockIdx.x) - (second - 1),
          .prefix = static_cast<int>(Border(second)) - begin};
}

}  // namespace thinkwire::worker::kernels
