#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"

// Which rows a block of prefill's kernels computes. A sequence's rows for a KV head, (token, head
// of the group) flattened, are cut into tiles; sequences of at most kTileRows rows are decode's and
// have none.
namespace thinkwire::worker::kernels {

// A block's rows.
struct RowTile {
  int seq = -1;  // -1: none
  int first_token = 0;
  int first_position = 0;  // of first_token
  int first_row = 0;       // counted from first_token's first head
  int num_rows = 0;

  __device__ int Position(int row, int group) const {
    return first_position + (first_row + row) / group;
  }
  // Where the row stands among the T * H of q and out.
  __device__ int Place(int row, int kv_head, const AttentionArgs& args) const {
    const int token = first_token + (first_row + row) / args.group;
    const int head = kv_head * args.group + (first_row + row) % args.group;
    return token * args.num_kv_heads * args.group + head;
  }
};

// Tile `index` of the step, in tiles of kBlockRows, counted from the last sequence's last one. Each
// warp finds it by itself, 32 sequences at a time.
template <int kBlockRows>
__device__ RowTile FindTile(const AttentionArgs& args, int index) {
  constexpr unsigned kAll = 0xFFFFFFFFU;
  const int lane = static_cast<int>(threadIdx.x % 32);
  int before = 0;
  for (int top = args.num_seqs - 1; top >= 0; top -= 32) {
    const int s = top - lane;
    int rows = 0;
    if (s >= 0) rows = (args.query_start[s + 1] - args.query_start[s]) * args.group;
    if (rows <= kTileRows) rows = 0;  // decode's
    const int own = (rows + kBlockRows - 1) / kBlockRows;
    int end = own;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int more = __shfl_up_sync(kAll, end, distance);
      if (lane >= distance) end += more;
    }
    end += before;
    const unsigned after = __ballot_sync(kAll, end > index);
    if (after != 0) {
      const int found = __ffs(static_cast<int>(after)) - 1;
      const int from_last = index - __shfl_sync(kAll, end - own, found);
      const int all_rows = __shfl_sync(kAll, rows, found);
      RowTile tile;
      tile.seq = top - found;
      tile.first_token = args.query_start[tile.seq];
      tile.first_position = args.positions[tile.first_token];
      tile.first_row = ((all_rows - 1) / kBlockRows - from_last) * kBlockRows;
      tile.num_rows = min(kBlockRows, all_rows - tile.first_row);
      return tile;
    }
    before = __shfl_sync(kAll, end, 31);
  }
  return {};
}

}  // namespace thinkwire::worker::kernels
