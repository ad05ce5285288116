#pragma once

#include <cstdint>

#include "worker/kernels/kv.h"
#include "worker/kernels/parts_extent.h"

// How latent attention's work is cut. A token's keys are segments, as long as its position says:
// 256 keys, or as many more, in 64s, as make at most 66 segments (132 multiprocessors for two
// groups of 64 heads). What a segment gives is merged in ascending order, and no bit depends on who
// computes it. A token is so many items as `parts` allows: its last segments one each, those before
// them the first. Items of more than one segment are merged as they are walked.
namespace thinkwire::worker::kernels {

inline constexpr int kSegmentStep = 64;  // keys
inline constexpr int kMostSegments = 66;
inline constexpr int kLeastSegment = 256;
inline constexpr int kMostSplitTokens = 240;  // of a step whose tokens are more than one item

// Of a token at `position`, keys.
constexpr int LatentSegment(int position) {
  const int share = position / (kMostSegments * kSegmentStep) + 1;
  return share * kSegmentStep > kLeastSegment ? share * kSegmentStep : kLeastSegment;
}

// Where all of it lies in the workspace (LatentWorkspaceBytes).
struct LatentWork {
  float* partials;  // [kLatentPartials, H, 512]
  float2* sums;     // [kLatentPartials, H]: the maximum and the sum of weights
  float4* kept;     // what blocks have so far
  int parts;        // items of a token at most; its first result is at `parts` times the token
};

inline LatentWork LatentWorkIn(void* workspace, std::int64_t heads) {
  LatentWork work = {};
  work.partials = static_cast<float*>(workspace);
  work.sums = reinterpret_cast<float2*>(work.partials + kLatentPartials * heads * kLatentWidth);
  work.kept = reinterpret_cast<float4*>(work.sums + kLatentPartials * heads);
  return work;
}

// Into how many items tokens are cut where `blocks` are to have work: into one if there is enough.
constexpr int LatentParts(std::int64_t tokens, std::int64_t groups, std::int64_t blocks) {
  if (tokens * groups >= 2 * blocks || tokens > kMostSplitTokens) return 1;
  const std::int64_t share = kLatentPartials / tokens;
  return static_cast<int>(share < kMostSegments ? share : kMostSegments);
}

#ifdef __CUDACC__

// What a block does at once: a group of heads of a token with keys [first, end) of its sequence.
struct LatentItem {
  int token;
  int group;
  int position;
  int segment;  // keys
  int first;
  int end;
  int partial;  // where its result goes; -1: it is the token's
};

__device__ __forceinline__ int SegmentsOf(const BatchView& batch, int token) {
  const int sequence = batch.token_seq[token];
  const int position = batch.positions[token];
  return sequence < 0 ? 0 : position / LatentSegment(position) + 1;
}

// What all lanes have, from lane 0: so the compiler knows, and computes with it once for all.
__device__ __forceinline__ int Uniform(int value) { return __shfl_sync(0xFFFFFFFFU, value, 0); }

// A step's items, token by token: for each, one of every group of heads.
class LatentItems {
 public:
  // All threads of a block; `starts` is [kMostSplitTokens + 1] of its shared memory. Another
  // barrier must follow.
  __device__ __forceinline__ LatentItems(const BatchView& batch, const LatentWork& work, int groups,
                                         std::uint16_t* starts)
      : batch_(batch), parts_(work.parts), groups_(groups), starts_(starts) {
    if (parts_ == 1) return;
    const auto thread = static_cast<int>(threadIdx.x);
    const auto threads = static_cast<int>(blockDim.x);
    for (int t = thread; t <= batch.num_tokens; t += threads) {
      starts[t] = static_cast<std::uint16_t>(t == 0 ? 0 : min(parts_, SegmentsOf(batch, t - 1)));
    }
    for (int distance = 1; distance <= batch.num_tokens; distance *= 2) {
      __syncthreads();
      int sums[2] = {};  // 240 tokens and one, by 128 threads and more
      for (int i = 0; i < 2; ++i) {
        const int t = thread + i * threads;
        if (t <= batch.num_tokens) sums[i] = starts[t] + (t >= distance ? starts[t - distance] : 0);
      }
      __syncthreads();
      for (int i = 0; i < 2; ++i) {
        const int t = thread + i * threads;
        if (t <= batch.num_tokens) starts[t] = static_cast<std::uint16_t>(sums[i]);
      }
    }
  }

  __device__ __forceinline__ int count() const {
    return Uniform(parts_ == 1 ? batch_.num_tokens : starts_[batch_.num_tokens]) * groups_;
  }

  // Whether item `index` has keys: padding has none.
  __device__ __forceinline__ bool Find(int index, LatentItem& item) const {
    const int of_token = index / groups_;
    // A prompt's last tokens have the most keys: they start first.
    item.token = parts_ == 1 ? batch_.num_tokens - 1 - of_token : Uniform(TokenOf(of_token));
    item.group = index % groups_;
    const int sequence = Uniform(batch_.token_seq[item.token]);
    item.position = Uniform(batch_.positions[item.token]);
    if (sequence < 0) return false;
    item.segment = LatentSegment(item.position);
    const int segments = item.position / item.segment + 1;
    const int parts = min(parts_, segments);
    const int part = parts_ == 1 ? 0 : of_token - Uniform(starts_[item.token]);
    const int last = segments - parts + part;  // segment
    item.first = part == 0 ? 0 : last * item.segment;
    item.end = min(item.position + 1, (last + 1) * item.segment);
    item.partial = parts_ == 1 ? -1 : item.token * parts_ + part;
    return true;
  }

 private:
  // The last token whose first item is not after it: one without items ends there.
  __device__ __forceinline__ int TokenOf(int of_token) const {
    int low = 0;
    int high = batch_.num_tokens - 1;
    while (low < high) {
      const int middle = (low + high + 1) / 2;
      if (starts_[middle] <= of_token) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

  const BatchView& batch_;
  const int parts_;
  const int groups_;
  const std::uint16_t* const starts_;
};

#endif

}  // namespace thinkwire::worker::kernels
