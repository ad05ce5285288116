#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/cluster.cuh"
#include "worker/kernels/cuda/cuda_check.h"
#include "worker/kernels/cuda/launch.cuh"
#include "worker/kernels/cuda/sample.h"
#include "worker/kernels/exp.h"
#include "worker/kernels/noise.h"
#include "worker/kernels/scalar_lane.h"

// Draws an id a row: the formula at the head of cpu/sample.cc, with the same bits in ids and
// logprobs. That holds for any mapping of threads, as weights are added as integers and everything
// else is a maximum.
//
// Mapping: a cluster of blocks a row, a contiguous slice of its columns a block. Each thread keeps
// its columns, four neighbours at a time, in shared memory: logits are read from global memory
// once. Devices without clusters, and vocabularies whose slices do not fit, take one block a row,
// which reads the logits again in every pass.
//
// Passes over the slice, each followed by one exchange within the cluster:
//   1. the greatest and least logit, and whether all are finite;
//   2. the sum of weights for the logprob; logits become t;
//   3. for top_k, then for top_p, a search for the last kept id: a histogram of counts or weights
//      over the order (PlaceOf), the digit where the sum is reached, and again within that digit.
//      The first is by distance from the maximum; it seldom takes more than three, at most seven;
//   4. the draw: noise for the kept ids, the greatest score.
//
// Limits: 64 registers a thread; 34 KiB and 4 V / cluster bytes of shared memory a block, at V =
// 151,936 in clusters of 8 so much that two blocks share an SM. Bytes: 4 L V, read once: 12.5 us
// for L = 64 at 3.1 TB/s. What bounds is instructions, about 100 for each logit that is far from
// the maximum, 200 for one that is near and kept: 40 to 100 us at L = 64, 12 to 20 us at L = 1 in
// a cluster of 16 (calculated for an H100).
namespace thinkwire::worker::kernels {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / 32;
constexpr unsigned kAllLanes = ~0U;
constexpr unsigned kMaxCluster = 16;
constexpr int kDigitBits = 10;
constexpr int kBuckets = 1 << kDigitBits;
constexpr int kGroups = 32;  // of 32 buckets: one warp searches groups, then a group's buckets
constexpr int kIdBits = 20;
constexpr std::uint32_t kIdMask = (1U << kIdBits) - 1;
constexpr int kKeyBits = 32 + kIdBits;
constexpr std::uint64_t kNotFinite = ~std::uint64_t{0};
constexpr std::size_t kMaxSharedBytes = 227 << 10;
// exp(-t) * 2^40 is below 1 from here on; a border of buckets, as all their widths divide 1.
constexpr float kNoWeight = 28.0F;

// What one block adds up of a pass, and its groups' sums. A sum is high * 2^32 + low.
struct Histogram {
  std::uint32_t low[kBuckets];
  std::uint32_t high[kBuckets];
  std::uint32_t count[kBuckets];
  std::uint64_t groups[kGroups];
};

// Two values of each block of the cluster.
struct Exchange {
  std::uint64_t first[kMaxCluster];
  std::uint64_t second[kMaxCluster];
};

struct Pair {
  std::uint64_t first;
  std::uint64_t second;
};

// Where a sum over the order, greatest first, reaches what was asked.
struct Found {
  std::uint32_t digit;
  std::uint32_t count;   // of that digit
  std::uint64_t needed;  // of that digit's sum
};

// An id that was kept, until the whole warp has some.
struct Candidate {
  std::uint32_t id;
  float t;
};

struct Shared {
  // Taken in turn: the other blocks may still read the last one while this one clears the next.
  Histogram histograms[2];
  Exchange extremes;
  Exchange results;
  std::uint64_t first[kWarps];
  std::uint64_t second[kWarps];
  Found found;
  Candidate candidates[kWarps][64];
};
constexpr std::size_t kSliceOffset = (sizeof(Shared) + 15) / 16 * 16;

struct SampleParams {
  const float* logits;  // [L, width]
  std::int64_t width;
  SampleView view;
  std::int32_t* ids;
  float* logprobs;
  std::int32_t* not_finite;
  std::int32_t* last_sampled;
  std::int32_t slice;  // columns a block, a multiple of 4
};

// How a row draws; the same in all threads of its cluster.
struct Row {
  float temperature;
  float top_p;
  float min_p;
  std::int32_t top_k;
  std::array<std::uint32_t, 2> seed;
  std::uint32_t output_index;
  std::uint32_t position;
  float max;    // of t
  float scale;  // buckets of the first digit per unit of distance from max: a power of two >= 32
};

__device__ float ExpOf(float x) { return Exp(ScalarLane{x}).x; }
__device__ std::uint64_t WeightOf(float e) { return __float2ull_rz(e * 0x1p40F); }

// Ascends with x. REQUIRES: x is not -0, as +0 would be greater.
__device__ std::uint32_t Ordered(float x) {
  const std::uint32_t bits = __float_as_uint(x);
  return bits & 0x80000000U ? ~bits : bits | 0x80000000U;
}
__device__ float FromOrdered(std::uint32_t ordered) {
  return __uint_as_float(ordered & 0x80000000U ? ordered & 0x7FFFFFFFU : ~ordered);
}

// Ascends with a place in the order: greater x, then lower id. In kKeyBits.
__device__ std::uint64_t KeyOf(float x, std::uint32_t id) {
  return std::uint64_t{Ordered(x)} << kIdBits | (kIdMask - id);
}
__device__ std::uint32_t IdOf(std::uint64_t key) {
  return kIdMask - (static_cast<std::uint32_t>(key) & kIdMask);
}

// Distance from the maximum in buckets: ascends while t descends.
__device__ std::uint32_t BucketOf(const Row& row, float t) {
  return static_cast<std::uint32_t>(fminf((row.max - t) * row.scale, kBuckets - 1.0F));
}
// The bucket before the key, so that the first digit spreads what t's exponent would not. The same
// order as the key's.
__device__ std::uint64_t PlaceOf(const Row& row, float t, std::uint32_t id) {
  return std::uint64_t{kBuckets - 1 - BucketOf(row, t)} << kKeyBits | KeyOf(t, id);
}

// Rounded to nearest, and +0 for -0.
__device__ float TempLogit(float x, float temperature) {
  return __fadd_rn(__fdiv_rn(x, temperature), 0.0F);
}

// The block's columns of a row. Where there are none to a whole group of four: -infinity with ids
// that come after all others. Every thread reads and writes its own columns alone.
template <bool kCopied>
class Slice {
 public:
  __device__ Slice(const SampleParams& params, std::int64_t row, float* copy)
      : first_(static_cast<int>(ClusterRank()) * params.slice),
        count_(min(params.slice, params.view.vocab_size - first_)),
        source_(params.logits + row * params.width + first_),
        copy_(copy) {}

  // Starts reading the logits.
  __device__ void Start() const {
    if constexpr (kCopied) {
      const bool aligned = reinterpret_cast<std::uintptr_t>(source_) % 16 == 0;
      for (int i = 4 * static_cast<int>(threadIdx.x); i < count_; i += 4 * kThreads) {
        if (aligned && i + 4 <= count_) {
          Copy<16>(i);
          continue;
        }
        for (int k = 0; k < 4; ++k) {
          if (i + k < count_) {
            Copy<4>(i + k);
          } else {
            copy_[i + k] = -INFINITY;
          }
        }
      }
    }
  }
  __device__ void Wait() const {
    if constexpr (kCopied) asm volatile("cp.async.wait_all;" ::: "memory");
  }

  // Calls f(id, logit) for all columns, in whole warps, ascending in each thread.
  template <class F>
  __device__ void ForLogits(F f) const {
    ForGroups([&](std::uint32_t id, int, const float4& x) {
      f(id, x.x);
      f(id + 1, x.y);
      f(id + 2, x.z);
      f(id + 3, x.w);
    });
  }
  // The same with t, which is there once the logits were divided.
  template <class F>
  __device__ void ForTempLogits(float temperature, F f) const {
    ForLogits([&](std::uint32_t id, float x) { f(id, kCopied ? x : TempLogit(x, temperature)); });
  }
  // Calls f(logit) and then divides the logits by the temperature.
  template <class F>
  __device__ void Divide(float temperature, F f) const {
    ForGroups([&](std::uint32_t, int i, const float4& x) {
      f(x.x);
      f(x.y);
      f(x.z);
      f(x.w);
      if constexpr (kCopied) {
        if (i < count_) {
          *reinterpret_cast<float4*>(copy_ + i) =
              make_float4(TempLogit(x.x, temperature), TempLogit(x.y, temperature),
                          TempLogit(x.z, temperature), TempLogit(x.w, temperature));
        }
      }
    });
  }

 private:
  template <int kBytes>
  __device__ void Copy(int i) const {
    const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(copy_ + i));
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(source_ + i),
                 "n"(kBytes)
                 : "memory");
  }

  template <class F>
  __device__ void ForGroups(F f) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    for (int warp = 4 * (static_cast<int>(threadIdx.x) - lane); warp < count_;
         warp += 4 * kThreads) {
      const int i = warp + 4 * lane;
      const std::uint32_t id = i < count_ ? static_cast<std::uint32_t>(first_ + i) : kIdMask - 3;
      f(id, i, Load(i));
    }
  }
  __device__ float4 Load(int i) const {
    if constexpr (kCopied) {
      if (i < count_) return *reinterpret_cast<const float4*>(copy_ + i);
      return make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
    } else {
      return make_float4(LoadOne(i), LoadOne(i + 1), LoadOne(i + 2), LoadOne(i + 3));
    }
  }
  __device__ float LoadOne(int i) const { return i < count_ ? source_[i] : -INFINITY; }

  const int first_;
  const int count_;
  const float* const source_;
  float* const copy_;
};

__device__ std::uint64_t WarpSum(std::uint64_t x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(kAllLanes, x, step);
  return x;
}
__device__ std::uint64_t WarpMax(std::uint64_t x) {
  for (int step = 16; step > 0; step /= 2) x = max(x, __shfl_xor_sync(kAllLanes, x, step));
  return x;
}

// Over all threads of the cluster: the greatest first, and the greatest or the sum of second.
template <bool kSumSecond>
__device__ Pair Reduce(Shared& shared, Exchange& exchange, Pair mine) {
  const auto second_of = [](std::uint64_t x) { return kSumSecond ? WarpSum(x) : WarpMax(x); };
  const unsigned warp = threadIdx.x / 32;
  const unsigned lane = threadIdx.x % 32;
  mine = {WarpMax(mine.first), second_of(mine.second)};
  if (lane == 0) {
    shared.first[warp] = mine.first;
    shared.second[warp] = mine.second;
  }
  __syncthreads();
  if (warp == 0) {
    mine = {WarpMax(lane < kWarps ? shared.first[lane] : 0),
            second_of(lane < kWarps ? shared.second[lane] : 0)};
    if (lane < ClusterSize()) {
      InBlock(&exchange, lane)->first[ClusterRank()] = mine.first;
      InBlock(&exchange, lane)->second[ClusterRank()] = mine.second;
    }
  }
  ClusterSync();
  Pair all = {0, 0};
  for (unsigned rank = 0; rank < ClusterSize(); ++rank) {
    const std::uint64_t second = exchange.second[rank];
    all.first = max(all.first, exchange.first[rank]);
    all.second = kSumSecond ? all.second + second : max(all.second, second);
  }
  return all;
}

__device__ void Clear(Histogram& histogram) {
  for (int i = static_cast<int>(threadIdx.x); i < kBuckets; i += kThreads) {
    histogram.low[i] = 0;
    histogram.high[i] = 0;
    histogram.count[i] = 0;
  }
}

__device__ void AddTo(Histogram& histogram, std::uint32_t digit, std::uint64_t weight,
                      std::uint32_t count) {
  const auto low = static_cast<std::uint32_t>(weight);
  const std::uint32_t carry = atomicAdd(&histogram.low[digit], low) > ~low ? 1 : 0;
  const std::uint32_t high = static_cast<std::uint32_t>(weight >> 32) + carry;
  if (high != 0) atomicAdd(&histogram.high[digit], high);
  atomicAdd(&histogram.count[digit], count);
}

// Adds the weights, at most 2^41, of those lanes of a warp that are `in`. Lanes that all have the
// same digit are added up first: crowded digits would queue at one address.
__device__ void AddWarp(Histogram& histogram, bool in, std::uint32_t digit, std::uint64_t weight) {
  const unsigned lanes = __ballot_sync(kAllLanes, in);
  const int leader = __ffs(static_cast<int>(lanes)) - 1;
  const std::uint32_t same = __shfl_sync(kAllLanes, digit, leader);
  if (__any_sync(kAllLanes, in && digit != same)) {
    if (in) AddTo(histogram, digit, weight, 1);
    return;
  }
  if (!in) weight = 0;
  std::uint64_t sum = 0;
  for (int shift = 0; shift < 48; shift += 16) {
    const std::uint32_t piece = static_cast<std::uint32_t>(weight >> shift) & 0xFFFFU;
    sum += std::uint64_t{__reduce_add_sync(kAllLanes, piece)} << shift;
  }
  if (static_cast<int>(threadIdx.x % 32) == leader) AddTo(histogram, same, sum, __popc(lanes));
}

__device__ std::uint64_t SumOf(const Histogram& histogram, int bucket) {
  return std::uint64_t{histogram.high[bucket]} << 32 | histogram.low[bucket];
}

__device__ void SumGroups(Histogram& histogram) {
  static_assert(kBuckets == 2 * kThreads && kBuckets == 32 * kGroups);
  const int bucket = 2 * static_cast<int>(threadIdx.x);
  std::uint64_t sum = SumOf(histogram, bucket) + SumOf(histogram, bucket + 1);
  for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
  if (threadIdx.x % 16 == 0) histogram.groups[threadIdx.x / 16] = sum;
}

// The sum of x over this lane and those before it.
__device__ std::uint64_t WarpPrefix(std::uint64_t x) {
  for (int step = 1; step < 32; step *= 2) {
    const std::uint64_t before = __shfl_up_sync(kAllLanes, x, step);
    if (threadIdx.x % 32 >= step) x += before;
  }
  return x;
}

// Called by one warp, for the histograms of all blocks. needed_of gives what the sum must reach,
// between 1 and the sum of all, which it is given.
template <class F>
__device__ Found FindDigit(Histogram& histogram, F needed_of) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  std::uint64_t sum = 0;
#pragma unroll 8
  for (unsigned rank = 0; rank < ClusterSize(); ++rank) {
    sum += InBlock(&histogram, rank)->groups[lane];
  }
  std::uint64_t prefix = WarpPrefix(sum);
  std::uint64_t needed = needed_of(__shfl_sync(kAllLanes, prefix, 31));
  const int group = __ffs(static_cast<int>(__ballot_sync(kAllLanes, prefix >= needed))) - 1;
  needed -= __shfl_sync(kAllLanes, prefix - sum, group);

  const int bucket = 32 * group + lane;
  std::uint32_t count = 0;
  sum = 0;
#pragma unroll 8
  for (unsigned rank = 0; rank < ClusterSize(); ++rank) {
    const Histogram& other = *InBlock(&histogram, rank);
    sum += SumOf(other, bucket);
    count += other.count[bucket];
  }
  prefix = WarpPrefix(sum);
  const int found = __ffs(static_cast<int>(__ballot_sync(kAllLanes, prefix >= needed))) - 1;
  needed -= __shfl_sync(kAllLanes, prefix - sum, found);
  return {static_cast<std::uint32_t>(32 * group + found), __shfl_sync(kAllLanes, count, found),
          needed};
}

// Places of [low, high], cut into at most kBuckets digits of 2^shift places, the highest first.
struct Range {
  std::uint64_t low = 0;
  std::uint64_t high = (std::uint64_t{1} << (kKeyBits + kDigitBits)) - 1;
  int shift = kKeyBits;
  // Members have t within.
  float least = -INFINITY;
  float most = INFINITY;

  __device__ bool Holds(std::uint64_t place) const { return low <= place && place <= high; }
  __device__ std::uint32_t DigitOf(std::uint64_t place) const {
    return static_cast<std::uint32_t>((high - place) >> shift);
  }
  __device__ void Narrow(std::uint32_t digit) {
    high -= std::uint64_t{digit} << shift;
    low = max(low, high - ((std::uint64_t{1} << shift) - 1));
  }
  // From a whole bucket to the places that its members may have. With d the rounded max - t:
  // d < end implies that max - t < end, and d >= begin that max - t > the float before begin.
  __device__ void Tighten(const Row& row, std::uint32_t bucket) {
    const float begin = static_cast<float>(bucket) / row.scale;
    const float end = static_cast<float>(bucket + 1) / row.scale;
    const std::uint64_t prefix = high >> kKeyBits << kKeyBits;
    float greatest = row.max;
    if (bucket > 0) greatest = __fadd_ru(row.max, -__uint_as_float(__float_as_uint(begin) - 1));
    const float smallest = bucket < kBuckets - 1 ? __fadd_rd(row.max, -end) : -INFINITY;
    high = min(high, prefix | KeyOf(greatest, 0));
    low = max(low, prefix | KeyOf(smallest, kIdMask));
  }
  // The next round's digits. REQUIRES: the range lies within one bucket.
  __device__ void Divide() {
    shift = max(0, 64 - kDigitBits - __clzll(high - low));
    least = FromOrdered(static_cast<std::uint32_t>(low >> kIdBits));
    most = FromOrdered(static_cast<std::uint32_t>(high >> kIdBits));
  }
};

// What a search keeps: the ids of places from `place` up. Comparing t settles nearly all.
struct Cut {
  std::uint64_t place = 0;
  float none_below = -INFINITY;  // t
  float all_above = -INFINITY;   // t

  __device__ bool Keeps(const Row& row, float t, std::uint32_t id) const {
    if (t > all_above) return true;
    return t >= none_below && PlaceOf(row, t, id) >= place;
  }
};

enum class Measure { kCount, kWeight };

// Of what `left` keeps, cuts all but the first ids whose measures sum to at least
// needed_of(the sum of all). `turn` counts the histograms taken.
template <Measure kMeasure, bool kCopied, class F>
__device__ Cut Search(Shared& shared, const Slice<kCopied>& slice, const Row& row, const Cut& left,
                      int& turn, F needed_of) {
  constexpr bool kCounts = kMeasure == Measure::kCount;
  Range range;
  std::uint64_t needed = 0;
  for (int round = 0;; ++round) {
    Histogram& histogram = shared.histograms[turn % 2];
    slice.ForTempLogits(row.temperature, [&](std::uint32_t id, float t) {
      bool in = range.least <= t && t <= range.most;
      in = in && (kCounts || row.max - t < kNoWeight) && left.Keeps(row, t, id);
      std::uint32_t digit = 0;
      if (round == 0) {
        digit = BucketOf(row, t);
      } else if (in) {
        const std::uint64_t place = PlaceOf(row, t, id);
        in = range.Holds(place);
        digit = range.DigitOf(place);
      }
      if (!__any_sync(kAllLanes, in)) return;
      AddWarp(histogram, in, digit, kCounts ? 1 : WeightOf(ExpOf(t - row.max)));
    });
    __syncthreads();
    SumGroups(histogram);
    ClusterSync();
    ++turn;
    Clear(shared.histograms[turn % 2]);
    if (threadIdx.x < 32) {
      const Found found = FindDigit(
          histogram, [&](std::uint64_t total) { return round == 0 ? needed_of(total) : needed; });
      if (threadIdx.x == 0) shared.found = found;
    }
    __syncthreads();
    const Found found = shared.found;
    needed = found.needed;
    range.Narrow(found.digit);
    if (round == 0) range.Tighten(row, found.digit);
    const bool last = found.count == 1 || range.shift == 0;
    range.Divide();
    if (last) return {max(range.low, left.place), range.least, range.most};
  }
}

// What top_k and top_p keep.
template <bool kCopied>
__device__ Cut FindCut(Shared& shared, const Slice<kCopied>& slice, const Row& row,
                       std::int32_t vocab_size) {
  Cut cut;
  int turn = 0;
  if (row.top_k > 0 && row.top_k < vocab_size) {
    const auto k = static_cast<std::uint64_t>(row.top_k);
    cut = Search<Measure::kCount>(shared, slice, row, cut, turn, [&](std::uint64_t) { return k; });
  }
  if (row.top_p < 1.0F) {
    cut = Search<Measure::kWeight>(
        shared, slice, row, cut, turn, [&](std::uint64_t total) -> std::uint64_t {
          const double target = __dmul_rn(row.top_p, static_cast<double>(total));
          return max(std::uint64_t{1}, static_cast<std::uint64_t>(target));
        });
  }
  return cut;
}

// A thread's best id. Kept ids wait in the warp's candidates until all its lanes have one, as most
// of the work is noise for what is kept.
class Drawer {
 public:
  // `candidates` are the warp's, 64.
  __device__ Drawer(const Row& row, const Cut& cut, Candidate* candidates)
      : row_(row), cut_(cut), candidates_(candidates) {}

  // Takes an (id, t) into account that all lanes have alike.
  __device__ void OfferToAll(std::uint32_t id, float t) {
    if (cut_.Keeps(row_, t, id)) Draw({id, t});
  }
  // Takes (id, t) of each lane into account. All lanes of a warp call it.
  __device__ void Offer(std::uint32_t id, float t) {
    const bool kept = t + kMaxGumbel >= bound_ && cut_.Keeps(row_, t, id);
    const unsigned lanes = __ballot_sync(kAllLanes, kept);
    if (lanes == 0) return;
    const unsigned below = lanes & ((1U << threadIdx.x % 32) - 1);
    if (kept) candidates_[waiting_ + __popc(below)] = {id, t};
    waiting_ += __popc(lanes);
    if (waiting_ >= 32) {
      waiting_ -= 32;
      DrawWaiting(32);
    }
  }
  // Key of score and id, 0 if nothing was kept.
  __device__ std::uint64_t Best() {
    const int waiting = waiting_;
    waiting_ = 0;
    DrawWaiting(waiting);
    return best_;
  }

 private:
  // Draws the `count` candidates from waiting_ on, one a lane.
  __device__ void DrawWaiting(int count) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    __syncwarp();
    if (lane < count) Draw(candidates_[waiting_ + lane]);
    __syncwarp();
  }
  __device__ void Draw(const Candidate& candidate) {
    const auto [id, t] = candidate;
    const std::uint32_t word = Philox4x32({id, row_.position, row_.output_index, 0}, row_.seed)[0];
    // What cannot win needs no exact noise: 1 - u < -log(u) = exp(-gumbel).
    if (__uint2float_rn(~word) * 0x1p-32F > __expf(t - bound_)) return;
    if (row_.min_p > 0.0F && !(ExpOf(t - row_.max) >= row_.min_p)) return;
    const float score = t + GumbelOf(word);
    const std::uint64_t key = KeyOf(score, id);
    if (key <= best_) return;
    best_ = key;
    // Below the score by more than what rounding, of scores too, can take from a bound.
    bound_ = score - (1e-3F + fabsf(score) * 0x1p-22F);
  }

  const Row& row_;
  const Cut cut_;
  Candidate* const candidates_;
  int waiting_ = 0;
  std::uint64_t best_ = 0;
  float bound_ = -INFINITY;
};

__device__ Row LoadRow(const SampleView& view, std::int64_t l, std::int32_t slot_index) {
  const SlotSampling& slot = view.slot_sampling[slot_index];
  const int phase = view.phases[l] != 0 || view.input_ids[l] == slot.think_end_id ? 1 : 0;
  Row row = {};
  row.temperature = slot.temperature[phase];
  row.top_p = slot.top_p[phase];
  row.min_p = slot.min_p[phase];
  row.top_k = slot.top_k[phase];
  row.seed = {static_cast<std::uint32_t>(slot.seed), static_cast<std::uint32_t>(slot.seed >> 32)};
  row.output_index = slot.output_index;
  row.position = static_cast<std::uint32_t>(view.positions[l]);
  return row;
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

// The greatest power of two, from 32 to 2^20, that keeps `distance` within the buckets if one does.
__device__ float BucketScale(float distance) {
  const int exponent = static_cast<int>(__float_as_uint(distance) >> 23) - 127;
  const int scale = kDigitBits - 1 - min(4, max(-11, exponent));
  return __uint_as_float(static_cast<std::uint32_t>(127 + scale) << 23);
}

__device__ void Write(const SampleParams& params, std::int64_t l, std::int32_t slot,
                      std::uint32_t id, float logprob, bool finite) {
  params.ids[l] = static_cast<std::int32_t>(id);
  params.logprobs[l] = logprob;
  params.not_finite[l] = finite ? 0 : 1;
  params.last_sampled[slot] = static_cast<std::int32_t>(id);
}

template <bool kCopied>
__global__ void __launch_bounds__(kThreads, 2) SampleKernel(SampleParams params) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  AllowNext();
  Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);
  const bool writes = ClusterRank() == 0 && threadIdx.x == 0;
  const std::int64_t l = blockIdx.x / ClusterSize();
  Clear(shared.histograms[0]);
  ClusterSync();  // all blocks have started
  WaitForPrevious();
  const std::int32_t slot = params.view.slots[l];
  if (slot < 0) return;
  const Slice<kCopied> slice(params, l, reinterpret_cast<float*>(shared_bytes + kSliceOffset));
  slice.Start();
  Row row = LoadRow(params.view, l, slot);
  slice.Wait();

  const auto vocab_size = static_cast<std::uint32_t>(params.view.vocab_size);
  const Pair extremes = Reduce<false>(shared, shared.extremes, Extremes(slice, vocab_size));
  if (extremes.first == kNotFinite) {
    if (writes) Write(params, l, slot, 0, 0.0F, false);
    return;
  }
  const std::uint32_t greatest = IdOf(extremes.first);
  const float max_logit = FromOrdered(static_cast<std::uint32_t>(extremes.first >> kIdBits));
  const float min_logit = FromOrdered(~static_cast<std::uint32_t>(extremes.second));
  row.max = TempLogit(max_logit, row.temperature);
  row.scale = BucketScale(row.max - TempLogit(min_logit, row.temperature));
  const bool draws = row.temperature != 0.0F && isfinite(row.max);

  std::uint64_t weight = 0;
  const auto add_weight = [&](float x) { weight += WeightOf(ExpOf(x - max_logit)); };
  std::uint64_t best = 0;
  if (draws) {
    slice.Divide(row.temperature, add_weight);
    const Cut cut = FindCut(shared, slice, row, params.view.vocab_size);
    Drawer drawer(row, cut, shared.candidates[threadIdx.x / 32]);
    // First what is likely to beat most.
    drawer.OfferToAll(greatest, row.max);
    slice.ForTempLogits(row.temperature, [&](std::uint32_t id, float t) { drawer.Offer(id, t); });
    best = drawer.Best();
  } else {
    slice.ForLogits([&](std::uint32_t, float x) { add_weight(x); });
  }
  const Pair result = Reduce<true>(shared, shared.results, {best, weight});
  if (!writes) return;
  const std::uint32_t id = draws ? IdOf(result.first) : greatest;
  const float* const logits = params.logits + l * params.width;
  // The logits themselves, as a zero may be negative.
  const float above = __fadd_rn(logits[id], -logits[greatest]);
  const float log_sum = Log(__ull2float_rn(result.second) * 0x1p-40F);
  Write(params, l, slot, id, __fadd_rn(above, -log_sum), true);
}

int DeviceAttribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

// Blocks a row: more while rows are few, so that they share out the device's SMs. 16 are possible
// where two of them share an SM and an SM group has eight, as on compute capability 9.0.
unsigned ClusterFor(int major, std::int32_t rows) {
  if (major < 9) return 1;
  return major == 9 && rows <= 8 ? kMaxCluster : 8;
}

template <bool kCopied>
void LaunchKernel(unsigned cluster, std::size_t shared_bytes, const SampleParams& params,
                  cudaStream_t stream) {
  const auto kernel = SampleKernel<kCopied>;
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared_bytes)));
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                  cudaSharedmemCarveoutMaxShared));
  if (cluster > 8) {
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
  }
  const auto rows = static_cast<unsigned>(params.view.num_rows);
  Launch(kernel,
         {.grid = dim3(rows * cluster),
          .block = dim3(kThreads),
          .shared_bytes = shared_bytes,
          .cluster = cluster},
         stream, params);
}

}  // namespace

void LaunchSample(const Tensor& logits, const SampleView& view, const Tensor& ids,
                  const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_sampled,
                  cudaStream_t stream) {
  const std::int32_t n = view.vocab_size;
  Check(logits.rank == 2 && logits.dtype == DType::kF32 && logits.dim(0) >= view.num_rows,
        "logits are f32 [L, V]");
  Check(n > 0 && n <= logits.dim(1), "the vocabulary is within the logits' columns");
  Check(n < static_cast<std::int32_t>(kIdMask) - 3, "ids fit in their bits of a key");
  if (view.num_rows == 0) return;
  SampleParams params = {.logits = logits.as<float>(),
                         .width = logits.dim(1),
                         .view = view,
                         .ids = ids.as<std::int32_t>(),
                         .logprobs = logprobs.as<float>(),
                         .not_finite = not_finite.as<std::int32_t>(),
                         .last_sampled = last_sampled.as<std::int32_t>(),
                         .slice = n};
  const unsigned cluster =
      ClusterFor(DeviceAttribute(cudaDevAttrComputeCapabilityMajor), view.num_rows);
  const std::int32_t groups = (n + 3) / 4;
  const std::int32_t slice =
      4 * ((groups + static_cast<int>(cluster) - 1) / static_cast<int>(cluster));
  const std::size_t bytes = kSliceOffset + sizeof(float) * static_cast<std::size_t>(slice);
  if (cluster > 1 && bytes <= kMaxSharedBytes) {
    params.slice = slice;
    LaunchKernel<true>(cluster, bytes, params, stream);
  } else {
    LaunchKernel<false>(1, kSliceOffset, params, stream);
  }
}

}  // namespace thinkwire::worker::kernels
