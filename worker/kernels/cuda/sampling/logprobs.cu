#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cluster.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/sampling/draw.h"
#include "worker/kernels/cuda/sampling/draw_cluster.cuh"
#include "worker/kernels/cuda/sampling/draw_launch.cuh"
#include "worker/kernels/cuda/sampling/draw_order.cuh"
#include "worker/kernels/cuda/sampling/draw_search.cuh"
#include "worker/kernels/cuda/sampling/draw_slice.cuh"
#include "worker/kernels/noise.h"

// Log-probabilities of a row's own id and of its most probable ones: cpu/logprobs.cc, with the same
// bits for any mapping of threads, as weights are added as integers and the order is total.
//
// Mapping and passes are Draw's (draw.cu) at temperature 1, up to the cut of a top_k that is
// the number of alternatives: a cluster of blocks a row, its slices in shared memory. Then each
// thread sends the keys that are kept, 20 at most over all, to the cluster's first block, whose
// first warp ranks them: a key's place is the number of greater ones.
//
// Limits: as Draw. Only steps in which somebody asks run it; it reads 4 L V bytes, most likely
// from the L2 that Draw filled.
namespace thinkwire::worker::kernels {
namespace {

using namespace draw;

static_assert(step::kMaxAlternatives <= 32, "one warp ranks what is kept");

struct Shared {
  SearchMemory search;
  std::uint64_t kept[step::kMaxAlternatives];  // of the cluster's first block, in any order
  int num_kept;
};
constexpr std::size_t kSliceOffset = (sizeof(Shared) + 15) / 16 * 16;

struct LogprobsParams {
  const float* logits;  // [L, width]
  std::int64_t width;
  LogprobsView view;
  std::int32_t slice;  // columns a block, a multiple of 4
};

// Sends the keys of the row's first `count` ids to the cluster's first block.
template <bool kCopied>
__device__ void KeepFirst(Shared& shared, ClusterBlocks& blocks, const Slice<kCopied>& slice,
                          const Row& row, std::int32_t count, std::int32_t vocab_size) {
  Cut cut;
  if (count < vocab_size) {
    const auto k = static_cast<std::uint64_t>(count);
    cut = Search<Measure::kCount>(blocks, slice, row, cut, [&](std::uint64_t) { return k; });
  }
  Shared* const first = InBlock(&shared, 0);
  slice.ForTempLogits(row.temperature, [&](std::uint32_t id, float t) {
    if (id >= static_cast<std::uint32_t>(vocab_size) || !cut.Keeps(row, t, id)) return;
    first->kept[atomicAdd(&first->num_kept, 1)] = KeyOf(t, id);
  });
}

template <bool kCopied>
__global__ void __launch_bounds__(kThreads, 2) LogprobsKernel(LogprobsParams params) {
  extern __shared__ __align__(16) unsigned char shared_bytes[];
  AllowNext();
  Shared& shared = *reinterpret_cast<Shared*>(shared_bytes);
  const std::int64_t l = blockIdx.x / ClusterSize();
  Clear(shared.search.histograms[0]);
  if (threadIdx.x == 0) shared.num_kept = 0;
  ClusterSync();  // all blocks have started
  WaitForPrevious();
  const LogprobsView& view = params.view;
  if (view.slots[l] < 0) return;
  const float* const logits = params.logits + l * params.width;
  ClusterBlocks blocks(shared.search);
  const Slice<kCopied> slice(logits, view.vocab_size, params.slice, blocks.rank(),
                             reinterpret_cast<float*>(shared_bytes + kSliceOffset));
  slice.Start();
  slice.Wait();

  const Pair extremes =
      blocks.Extremes(Extremes(slice, static_cast<std::uint32_t>(view.vocab_size)));
  if (extremes.first == kNotFinite) return;
  const float max_logit = FromOrdered(static_cast<std::uint32_t>(extremes.first >> kIdBits));
  const float min_logit = FromOrdered(~static_cast<std::uint32_t>(extremes.second));
  Row row = {};
  row.temperature = 1.0F;
  row.max = max_logit;
  row.scale = BucketScale(max_logit - min_logit);
  std::uint64_t weight = 0;
  slice.Divide(row.temperature, [&](float x) { weight += WeightOf(ExpOf(x - max_logit)); });
  const std::int32_t count = view.num_alternatives[l];
  if (count > 0) KeepFirst(shared, blocks, slice, row, count, view.vocab_size);
  const Pair result = Reduce<true>(shared.search.warps, shared.search.results, {0, weight});
  if (ClusterRank() != 0 || threadIdx.x >= 32) return;

  const float log_sum = Log(__ull2float_rn(result.second) * 0x1p-40F);
  // The logits themselves, as a zero may be negative.
  const float greatest = logits[IdOf(extremes.first)];
  const auto logprob_of = [&](std::uint32_t id) {
    return __fadd_rn(__fadd_rn(logits[id], -greatest), -log_sum);
  };
  const int lane = static_cast<int>(threadIdx.x);
  if (lane == 0) view.logprobs[l] = logprob_of(static_cast<std::uint32_t>(view.ids[l]));
  if (lane >= count) return;
  const std::uint64_t key = shared.kept[lane];
  int place = 0;
  for (int i = 0; i < count; ++i) place += shared.kept[i] > key ? 1 : 0;
  view.alternative_ids[l * step::kMaxAlternatives + place] = static_cast<std::int32_t>(IdOf(key));
  view.alternative_logprobs[l * step::kMaxAlternatives + place] = logprob_of(IdOf(key));
}

}  // namespace

void LaunchLogprobs(const Tensor& logits, const LogprobsView& view, cudaStream_t stream) {
  const std::int32_t n = view.vocab_size;
  Check(logits.rank == 2 && logits.dtype == DType::kF32 && logits.dim(0) >= view.num_rows,
        "logits are f32 [L, V]");
  Check(n > 0 && n <= logits.dim(1), "the vocabulary is within the logits' columns");
  Check(n < static_cast<std::int32_t>(kIdMask) - 3, "ids fit in their bits of a key");
  LaunchRows(&LogprobsKernel<true>, &LogprobsKernel<false>, kSliceOffset,
             LogprobsParams{
                 .logits = logits.as<float>(), .width = logits.dim(1), .view = view, .slice = 0},
             stream);
}

}  // namespace thinkwire::worker::kernels
