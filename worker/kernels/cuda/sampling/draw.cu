#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cluster.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/sampling/draw.h"
#include "worker/kernels/cuda/sampling/draw_launch.cuh"
#include "worker/kernels/cuda/sampling/draw_order.cuh"
#include "worker/kernels/cuda/sampling/draw_search.cuh"
#include "worker/kernels/cuda/sampling/draw_slice.cuh"
#include "worker/kernels/draw_phase.h"
#include "worker/kernels/noise.h"

// Draws an id a row: the formula at the head of cpu/draw.cc, with the same bits in ids and
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
//      The first is by distance from the maximum; it seldom takes more than three, at most seven.
//      Later ones look at groups of 128 columns that hold something of the digit;
//   4. the draw: noise for the kept ids, the greatest score.
//
// Limits: 64 registers a thread; 38 KiB and 4 V / cluster bytes of shared memory a block, at V =
// 152,064 in clusters of 8 so much that two blocks share an SM. Bytes: 4 L V, read once: 12.5 us
// for L = 64 at 3.1 TB/s. What bounds is instructions, some 250 for a logit that is near the
// maximum and kept (164 us for L = 64 on an H100), and at few rows the search's exchanges (34 us
// for L = 1).
namespace thinkwire::worker::kernels {
namespace {

using namespace draw;

// An id that was kept, until the whole warp has some.
struct Candidate {
  std::uint32_t id;
  float t;
};

// A block's candidates lie in the histogram cleared last, which no round will take: it is this
// block's alone.
using Candidates = Candidate[kWarps][64];
static_assert(sizeof(Candidates) <= sizeof(Histogram));
constexpr std::size_t kSliceOffset = (sizeof(SearchMemory) + 15) / 16 * 16;

struct DrawParams {
  const float* logits;  // [L, width]
  std::int64_t width;
  DrawView view;
  std::int32_t* ids;
  float* logprobs;
  std::int32_t* not_finite;
  std::int32_t* last_drawn;
  std::int32_t slice;  // columns a block, a multiple of 4
};

// What top_k and top_p keep. `turn` counts the histograms taken.
template <bool kCopied>
__device__ Cut FindCut(SearchMemory& shared, const Slice<kCopied>& slice, const Row& row,
                       std::int32_t vocab_size, int& turn) {
  Cut cut;
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
  // Takes four ids from `id` on of each lane into account. All lanes of a warp call it.
  __device__ void Offer(std::uint32_t id, const float (&t)[4]) {
    bool kept[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      kept[k] = t[k] + kMaxGumbel >= bound_ && cut_.Keeps(row_, t[k], id + k);
    }
    if (!__any_sync(kAllLanes, kept[0] || kept[1] || kept[2] || kept[3])) return;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const unsigned lanes = __ballot_sync(kAllLanes, kept[k]);
      const unsigned below = lanes & ((1U << threadIdx.x % 32) - 1);
      if (kept[k]) candidates_[waiting_ + __popc(below)] = {id + k, t[k]};
      waiting_ += __popc(lanes);
      if (waiting_ >= 32) {
        waiting_ -= 32;
        DrawWaiting(32);
      }
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

__device__ Row LoadRow(const DrawView& view, std::int64_t l, std::int32_t slot_index) {
  const step::SamplingParams& slot = view.slot_sampling[slot_index];
  const step::Phase phase = PhaseOf(view, l, slot);
  Row row = {};
  row.temperature = slot.phases[phase].temperature;
  row.top_p = slot.phases[phase].top_p;
  row.min_p = slot.phases[phase].min_p;
  row.top_k = slot.phases[phase].top_k;
  // So that the compiler knows them, and the keys made of them, to be the warp's.
  row.seed = {__reduce_or_sync(kAllLanes, static_cast<std::uint32_t>(slot.seed)),
              __reduce_or_sync(kAllLanes, static_cast<std::uint32_t>(slot.seed >> 32))};
  row.output_index = slot.output_index;
  row.position = static_cast<std::uint32_t>(view.positions[l]);
  return row;
}

// `last_slot` is the row's slot if the row is its slot's last, else -1.
__device__ void Write(const DrawParams& params, std::int64_t l, std::int32_t last_slot,
                      std::uint32_t id, float logprob, bool finite) {
  params.ids[l] = static_cast<std::int32_t>(id);
  params.logprobs[l] = logprob;
  params.not_finite[l] = finite ? 0 : 1;
  if (last_slot >= 0) params.last_drawn[last_slot] = static_cast<std::int32_t>(id);
}

template <bool kCopied>
__global__ void __launch_bounds__(kThreads, 2) DrawKernel(DrawParams params) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  AllowNext();
  SearchMemory& shared = *reinterpret_cast<SearchMemory*>(shared_bytes);
  const bool writes = ClusterRank() == 0 && threadIdx.x == 0;
  const std::int64_t l = blockIdx.x / ClusterSize();
  Clear(shared.histograms[0]);
  ClusterSync();  // all blocks have started
  WaitForPrevious();
  const std::int32_t slot = params.view.slots[l];
  if (slot < 0) return;
  // Read here, as whoever writes at the end would wait for it.
  const std::int32_t last_slot = writes && IsLastOfSlot(params.view, l) ? slot : -1;
  const Slice<kCopied> slice(params.logits + l * params.width, params.view.vocab_size, params.slice,
                             reinterpret_cast<float*>(shared_bytes + kSliceOffset));
  slice.Start();
  Row row = LoadRow(params.view, l, slot);
  slice.Wait();

  const auto vocab_size = static_cast<std::uint32_t>(params.view.vocab_size);
  const Pair extremes = Reduce<false>(shared, shared.extremes, Extremes(slice, vocab_size));
  if (extremes.first == kNotFinite) {
    if (writes) Write(params, l, last_slot, 0, 0.0F, false);
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
    int turn = 0;
    const Cut cut = FindCut(shared, slice, row, params.view.vocab_size, turn);
    auto& candidates = reinterpret_cast<Candidates&>(shared.histograms[turn % 2]);
    Drawer drawer(row, cut, candidates[threadIdx.x / 32]);
    // First what is likely to beat most.
    drawer.OfferToAll(greatest, row.max);
    slice.ForFourTempLogits(row.temperature,
                            [&](std::uint32_t id, const float(&t)[4]) { drawer.Offer(id, t); });
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
  Write(params, l, last_slot, id, __fadd_rn(above, -log_sum), true);
}

}  // namespace

void LaunchDraw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn,
                cudaStream_t stream) {
  const std::int32_t n = view.vocab_size;
  Check(logits.rank == 2 && logits.dtype == DType::kF32 && logits.dim(0) >= view.num_rows,
        "logits are f32 [L, V]");
  Check(n > 0 && n <= logits.dim(1), "the vocabulary is within the logits' columns");
  Check(n < static_cast<std::int32_t>(kIdMask) - 3, "ids fit in their bits of a key");
  LaunchRows(&DrawKernel<true>, &DrawKernel<false>, kSliceOffset,
             DrawParams{.logits = logits.as<float>(),
                        .width = logits.dim(1),
                        .view = view,
                        .ids = ids.as<std::int32_t>(),
                        .logprobs = logprobs.as<float>(),
                        .not_finite = not_finite.as<std::int32_t>(),
                        .last_drawn = last_drawn.as<std::int32_t>(),
                        .slice = 0},
             stream);
}

}  // namespace thinkwire::worker::kernels
