#pragma once

#include <cstdint>

#include "worker/kernels/cuda/sampling/draw_histogram.cuh"
#include "worker/kernels/cuda/sampling/draw_order.cuh"
#include "worker/kernels/cuda/sampling/draw_slice.cuh"

// What the blocks of a row find out about it together: extremes and sums over all of it, and where
// its order is cut. `Blocks` are those of a cluster (draw_cluster.cuh) or all over the device
// (draw_grid.cuh).
namespace thinkwire::worker::kernels::draw {

inline constexpr int kWarps = kThreads / 32;
inline constexpr std::uint64_t kNotFinite = std::uint64_t{1} << 62;  // above all keys

struct Pair {
  std::uint64_t first;
  std::uint64_t second;
};

// One of each warp of a block.
struct WarpPairs {
  std::uint64_t first[kWarps];
  std::uint64_t second[kWarps];
};

__device__ inline std::uint64_t WarpSum(std::uint64_t x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}
__device__ inline std::uint64_t WarpMax(std::uint64_t x) {
  for (int step = 16; step > 0; step /= 2) x = max(x, __shfl_xor_sync(kAllLanes, x, step));
  return x;
}

// Over all threads of the block: the greatest first, and the greatest or the sum of second, which
// the first warp gets.
template <bool kSumSecond>
__device__ Pair ReduceInBlock(WarpPairs& shared, Pair mine) {
  const auto second_of = [](std::uint64_t x) { return kSumSecond ? WarpSum(x) : WarpMax(x); };
  const unsigned warp = threadIdx.x / 32;
  const unsigned lane = threadIdx.x % 32;
  mine = {WarpMax(mine.first), second_of(mine.second)};
  if (lane == 0) {
    shared.first[warp] = mine.first;
    shared.second[warp] = mine.second;
  }
  __syncthreads();
  if (warp > 0) return mine;
  return {WarpMax(lane < kWarps ? shared.first[lane] : 0),
          second_of(lane < kWarps ? shared.second[lane] : 0)};
}

enum class Measure { kCount, kWeight };

// Adds to the histogram what is within the range, in a search's first round or a later one.
template <Measure kMeasure, bool kFirst, bool kCopied>
__device__ void AddSlice(Histogram& histogram, const Slice<kCopied>& slice, const Row& row,
                         const Cut& left, const Range& range) {
  constexpr bool kCounts = kMeasure == Measure::kCount;
  slice.ForFourTempLogits(row.temperature, [&](std::uint32_t id, const float(&t)[4]) {
    bool in[4];
    std::uint32_t digits[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      in[k] = kFirst || (range.least <= t[k] && t[k] <= range.most);
      in[k] = in[k] && (kCounts || row.max - t[k] < kNoWeight);
      if constexpr (kFirst) digits[k] = BucketOf(row, t[k]);
    }
    // Few are within a later round's range.
    if (!kFirst && !__any_sync(kAllLanes, in[0] || in[1] || in[2] || in[3])) return;
    bool any = false;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      in[k] = in[k] && left.Keeps(row, t[k], id + k);
      if constexpr (!kFirst) {
        const std::uint64_t place = PlaceOf(row, t[k], id + k);
        in[k] = in[k] && range.Holds(place);
        digits[k] = range.DigitOf(place);
      }
      any = any || in[k];
    }
    if (!__any_sync(kAllLanes, any)) return;
    std::uint64_t weights[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) weights[k] = kCounts ? 1 : WeightOf(ExpOf(t[k] - row.max));
    AddWarp(histogram, in, digits, weights);
  });
}

// Of what `left` keeps, cuts all but the first ids whose measures sum to at least
// needed_of(the sum of all).
template <Measure kMeasure, class Blocks, bool kCopied, class F>
__device__ Cut Search(Blocks& blocks, const Slice<kCopied>& slice, const Row& row, const Cut& left,
                      F needed_of) {
  Range range;
  std::uint64_t needed = 0;
  for (int round = 0;; ++round) {
    Histogram& histogram = blocks.histogram();
    if (round == 0) {
      AddSlice<kMeasure, true>(histogram, slice, row, left, range);
    } else {
      AddSlice<kMeasure, false>(histogram, slice, row, left, range);
    }
    const Found found = blocks.FindDigit(
        [&](std::uint64_t total) { return round == 0 ? needed_of(total) : needed; });
    needed = found.needed;
    range.Narrow(found.digit);
    if (round == 0) range.Tighten(row, found.digit);
    const bool last = found.count == 1 || range.shift == 0;
    range.Divide();
    if (last) return {max(range.low, left.place), range.least, range.most};
  }
}

// The greatest key of a logit, or kNotFinite, and the greatest of ~Ordered(logit).
template <bool kCopied>
__device__ Pair Extremes(const Slice<kCopied>& slice, std::uint32_t vocab_size) {
  float greatest = -INFINITY;
  float least = INFINITY;
  std::uint32_t id_of_greatest = kIdMask;
  bool finite = true;
  slice.ForLogits([&](std::uint32_t id, float x) {
    if (id >= vocab_size) return;
    finite = finite && isfinite(x);
    least = fminf(least, x);
    if (x > greatest) {
      greatest = x;
      id_of_greatest = id;
    }
  });
  if (!finite) return {kNotFinite, 0};
  // +0 for -0: they are equals.
  return {KeyOf(__fadd_rn(greatest, 0.0F), id_of_greatest), ~Ordered(__fadd_rn(least, 0.0F))};
}

}  // namespace thinkwire::worker::kernels::draw
