#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cluster.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/sampling/draw.h"
#include "worker/kernels/cuda/sampling/draw_cluster.cuh"
#include "worker/kernels/cuda/sampling/draw_grid.cuh"
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
// Mapping: a contiguous slice of a row's columns a block. Up to kMostGridRows rows share out all
// multiprocessors, and a row's blocks meet in device memory (draw_grid.cuh); more rows have a
// cluster of blocks each. Each thread keeps its columns, four neighbours at a time, in shared
// memory: logits are read from global memory once. Devices without clusters, and vocabularies whose
// slices do not fit, take one block a row, which reads the logits again in every pass.
//
// Passes over the slice, each followed by one exchange between the row's blocks:
//   1. the greatest and least logit, and whether all are finite;
//   2. the sum of weights for the logprob; logits become t;
//   3. for top_k, then for top_p, a search for the last kept id: a histogram of counts or weights
//      over the order (PlaceOf), the digit where the sum is reached, and again within that digit.
//      The first is by distance from the maximum; it seldom takes more than three, at most seven.
//      Later ones look at groups of 128 columns that hold something of the digit;
//   4. the draw: noise for the kept ids, the greatest score.
//
// Limits: 64 registers a thread (few rows: 128); 38 KiB and 4 V / cluster bytes of shared memory a
// block, at V = 152,064 in clusters of 8 so much that two blocks share an SM. Few rows' blocks wait
// for each other: all that are launched must be on the device at once. Bytes: 4 L V, read once:
// 12.5 us for L = 64 at 3.1 TB/s. What bounds is instructions, some 250 for a logit that is near
// the maximum and kept (162 us for L = 64 on an H200), and at few rows how they and the meetings
// follow each other (18 us for L = 1).
namespace thinkwire::worker::kernels {
namespace {

using namespace draw;

// An id that was kept, until the whole warp has some.
struct Candidate {
  std::uint32_t id;
  float t;
};

// A block's candidates lie in the histogram that no round will take: it is this block's alone.
using Candidates = Candidate[kWarps][64];
static_assert(sizeof(Candidates) <= sizeof(Histogram));
constexpr std::size_t kSliceOffset = (sizeof(SearchMemory) + 15) / 16 * 16;
constexpr std::size_t kGridSliceOffset = (sizeof(GridMemory) + 15) / 16 * 16;
// Of shared memory, which every device has that has bf16.
constexpr std::size_t kMostGridBytes = 96 << 10;

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

// What top_k and top_p keep.
template <class Blocks, bool kCopied>
__device__ Cut FindCut(Blocks& blocks, const Slice<kCopied>& slice, const Row& row,
                       std::int32_t vocab_size) {
  Cut cut;
  if (row.top_k > 0 && row.top_k < vocab_size) {
    const auto k = static_cast<std::uint64_t>(row.top_k);
    cut = Search<Measure::kCount>(blocks, slice, row, cut, [&](std::uint64_t) { return k; });
  }
  if (row.top_p < 1.0F) {
    cut = Search<Measure::kWeight>(
        blocks, slice, row, cut, [&](std::uint64_t total) -> std::uint64_t {
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

__device__ Row LoadRow(const DrawView& view, std::int64_t l, const step::SamplingParams& slot) {
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

// What a block's slice gives: the best key of a draw, 0 if the row does not draw, and the sum of
// weights for the logprob. Sets what `row` has of the extremes.
template <class Blocks, bool kCopied>
__device__ Pair DrawFrom(Blocks& blocks, const Slice<kCopied>& slice, const Pair& extremes,
                         std::int32_t vocab_size, Row& row) {
  const float max_logit = FromOrdered(static_cast<std::uint32_t>(extremes.first >> kIdBits));
  const float min_logit = FromOrdered(~static_cast<std::uint32_t>(extremes.second));
  row.max = TempLogit(max_logit, row.temperature);
  row.scale = BucketScale(row.max - TempLogit(min_logit, row.temperature));
  std::uint64_t weight = 0;
  const auto add_weight = [&](float x) { weight += WeightOf(ExpOf(x - max_logit)); };
  if (!row.draws()) {
    slice.ForLogits([&](std::uint32_t, float x) { add_weight(x); });
    return {0, weight};
  }
  slice.Divide(row.temperature, add_weight);
  const Cut cut = FindCut(blocks, slice, row, vocab_size);
  auto& candidates = reinterpret_cast<Candidates&>(blocks.histogram());
  Drawer drawer(row, cut, candidates[threadIdx.x / 32]);
  // First what is likely to beat most.
  drawer.OfferToAll(IdOf(extremes.first), row.max);
  slice.ForFourTempLogits(row.temperature,
                          [&](std::uint32_t id, const float(&t)[4]) { drawer.Offer(id, t); });
  return {drawer.Best(), weight};
}

// The slot whose last draw is row l's, else -1.
__device__ std::int32_t LastSlotOf(const DrawView& view, std::int64_t l, std::int32_t slot) {
  return threadIdx.x == 0 && IsLastOfSlot(view, l) ? slot : -1;
}

// Row l, of a slot with this sampling, by all its blocks. `copy` is the Slice's. `last_slot` is
// LastSlotOf, read before, as whoever writes at the end would wait for it.
template <bool kCopied, class Blocks>
__device__ void DrawRow(const DrawParams& params, std::int64_t l,
                        const step::SamplingParams& sampling, std::int32_t last_slot,
                        Blocks& blocks, float* copy) {
  const std::int32_t vocab_size = params.view.vocab_size;
  const float* const logits = params.logits + l * params.width;
  const Slice<kCopied> slice(logits, vocab_size, params.slice, blocks.rank(), copy);
  slice.Start();
  Row row = LoadRow(params.view, l, sampling);
  slice.Wait();

  const Pair extremes = blocks.Extremes(Extremes(slice, static_cast<std::uint32_t>(vocab_size)));
  const bool is_finite = extremes.first != kNotFinite;
  Pair result = {0, 0};
  if (is_finite) result = DrawFrom(blocks, slice, extremes, vocab_size, row);
  if (!blocks.Finish(result)) return;
  if (!is_finite) return Write(params, l, last_slot, 0, 0.0F, false);
  const std::uint32_t greatest = IdOf(extremes.first);
  const std::uint32_t id = row.draws() ? IdOf(result.first) : greatest;
  // The logits themselves, as a zero may be negative.
  const float above = __fadd_rn(logits[id], -logits[greatest]);
  const float log_sum = Log(__ull2float_rn(result.second) * 0x1p-40F);
  Write(params, l, last_slot, id, __fadd_rn(above, -log_sum), true);
}

template <bool kCopied>
__global__ void __launch_bounds__(kThreads, 2) DrawKernel(DrawParams params) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  AllowNext();
  SearchMemory& shared = *reinterpret_cast<SearchMemory*>(shared_bytes);
  Clear(shared.histograms[0]);
  ClusterSync();  // all blocks have started
  WaitForPrevious();
  const std::int64_t l = blockIdx.x / ClusterSize();
  const std::int32_t slot = params.view.slots[l];
  if (slot < 0) return;
  ClusterBlocks blocks(shared);
  DrawRow<kCopied>(params, l, params.view.slot_sampling[slot], LastSlotOf(params.view, l, slot),
                   blocks, reinterpret_cast<float*>(shared_bytes + kSliceOffset));
}

// What a step's rows draw by came with the step, before its first kernel: it is read while the
// kernel before this one still runs.
__global__ void __launch_bounds__(kThreads, 1) GridDrawKernel(DrawParams params, GridRow* rows) {
  constexpr int kWords = sizeof(step::SamplingParams) / 4;
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  AllowNext();
  GridMemory& shared = *reinterpret_cast<GridMemory*>(shared_bytes);
  Clear(shared.histogram);
  const std::int64_t l = blockIdx.y;
  const std::int32_t slot = params.view.slots[l];
  const std::int32_t last_slot = LastSlotOf(params.view, l, slot);
  if (slot >= 0 && threadIdx.x < kWords) {
    reinterpret_cast<std::uint32_t*>(&shared.sampling)[threadIdx.x] =
        reinterpret_cast<const std::uint32_t*>(&params.view.slot_sampling[slot])[threadIdx.x];
  }
  __syncthreads();
  WaitForPrevious();
  if (slot < 0) return;
  GridBlocks blocks(shared, rows[l], blockIdx.x, gridDim.x);
  DrawRow<true>(params, l, shared.sampling, last_slot, blocks,
                reinterpret_cast<float*>(shared_bytes + kGridSliceOffset));
}

// Of a row, where so few have the device.
unsigned GridBlocksOf(const DrawView& view, int num_sms) {
  return static_cast<unsigned>(std::min(num_sms / view.num_rows, kMostGridBlocks));
}

void LaunchGrid(DrawParams params, const DrawWorkspace& workspace, cudaStream_t stream) {
  const unsigned blocks = GridBlocksOf(params.view, workspace.num_sms);
  params.slice = SliceOf(params.view.vocab_size, blocks);
  const std::size_t bytes = SliceBytes(kGridSliceOffset, params.slice);
  CUDA_CHECK(cudaFuncSetAttribute(&GridDrawKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(bytes)));
  Launch(&GridDrawKernel,
         {.grid = dim3(blocks, static_cast<unsigned>(params.view.num_rows)),
          .block = dim3(kThreads),
          .shared_bytes = bytes},
         stream, params, static_cast<GridRow*>(workspace.memory));
}

// Whether the rows are so few that each has its share of all multiprocessors.
bool TakesGrid(const DrawView& view, int num_sms) {
  if (view.num_rows > kMostGridRows || view.num_rows > num_sms) return false;
  const unsigned blocks = GridBlocksOf(view, num_sms);
  return SliceBytes(kGridSliceOffset, SliceOf(view.vocab_size, blocks)) <= kMostGridBytes;
}

}  // namespace

std::size_t DrawWorkspaceBytes() { return kMostGridRows * sizeof(GridRow); }

void LaunchDraw(const Tensor& logits, const DrawView& view, const Tensor& ids,
                const Tensor& logprobs, const Tensor& not_finite, const Tensor& last_drawn,
                const DrawWorkspace& workspace, cudaStream_t stream) {
  const std::int32_t n = view.vocab_size;
  Check(logits.rank == 2 && logits.dtype == DType::kF32 && logits.dim(0) >= view.num_rows,
        "logits are f32 [L, V]");
  Check(n > 0 && n <= logits.dim(1), "the vocabulary is within the logits' columns");
  Check(n < static_cast<std::int32_t>(kIdMask) - 3, "ids fit in their bits of a key");
  if (view.num_rows == 0) return;
  const DrawParams params = {.logits = logits.as<float>(),
                             .width = logits.dim(1),
                             .view = view,
                             .ids = ids.as<std::int32_t>(),
                             .logprobs = logprobs.as<float>(),
                             .not_finite = not_finite.as<std::int32_t>(),
                             .last_drawn = last_drawn.as<std::int32_t>(),
                             .slice = 0};
  if (TakesGrid(view, workspace.num_sms)) return LaunchGrid(params, workspace, stream);
  LaunchRows(&DrawKernel<true>, &DrawKernel<false>, kSliceOffset, params, stream);
}

}  // namespace thinkwire::worker::kernels
