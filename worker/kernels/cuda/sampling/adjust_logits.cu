#include <cstdint>

#include "worker/kernels/adjust.h"
#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/sampling/adjust_logits.h"
#include "worker/kernels/draw_phase.h"

// Logits with bias, penalties and masks (adjust.h has the formula), and the counts that those need:
// the CPU's bits, as each element is one chain of written operations and counts are integers.
//
// AdjustLogits: a block takes kColumns columns of a row, each thread every kThreads-th of them. It
// scatters the slot's biases that fall into its columns over zeros in shared memory, 8 KiB. Bytes:
// 8 L V, 4 L V of counts where those are asked for, and L V / 8 of masks: at most 38 us for L = 64
// at V = 151,936 and 3.1 TB/s (calculated). Threads side by side read one word of a mask.
//
// BeginCounts: one block a slot, which clears 4 V bytes and then counts the ids by atomic
// additions.
//
// CountDraws: one thread a row.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kColumns = 2048;
constexpr int kBeginThreads = 1024;

__global__ void __launch_bounds__(kThreads)
    AdjustKernel(const float* logits, std::int64_t width, DrawView view, AdjustView adjust,
                 float* adjusted) {
  __shared__ float bias[kColumns];
  AllowNext();
  WaitForPrevious();
  const std::int64_t l = blockIdx.y;
  const std::int32_t slot_index = view.slots[l];
  if (slot_index < 0) return;
  const step::SamplingParams slot = view.slot_sampling[slot_index];
  const step::Phase phase = PhaseOf(view, l, slot);
  const int first = static_cast<int>(blockIdx.x) * kColumns;
  for (int i = static_cast<int>(threadIdx.x); i < kColumns; i += kThreads) bias[i] = 0.0F;
  __syncthreads();
  const step::LogitBias* const own =
      adjust.biases +
      (2 * std::int64_t{slot_index} + static_cast<int>(phase)) * step::kMaxLogitBiases;
  for (int i = static_cast<int>(threadIdx.x); i < slot.phases[phase].num_biases; i += kThreads) {
    const int column = own[i].id - first;
    if (column >= 0 && column < kColumns) bias[column] = own[i].bias;
  }
  __syncthreads();
  const std::int64_t n = view.vocab_size;
  const float* const x = logits + l * width;
  const auto* const words = static_cast<const std::uint32_t*>(adjust.counts.data) + slot_index * n;
  const step::MaskWord* const mask = MaskOf(view, adjust, l);
  const bool counted = slot.phases[phase].counts();
  for (int i = static_cast<int>(threadIdx.x); i < kColumns && first + i < n; i += kThreads) {
    const int id = first + i;
    adjusted[l * n + id] = Masked(
        Adjusted(x[id], bias[i], counted ? words[id] : 0, slot.phases[phase], phase), mask, id);
  }
}

__global__ void __launch_bounds__(kBeginThreads)
    BeginCountsKernel(const CountsBegin* begins, const std::int32_t* ids, std::int64_t n,
                      std::uint32_t* counts) {
  WaitForPrevious();
  AllowNext();
  const CountsBegin begin = begins[blockIdx.x];
  std::uint32_t* const words = counts + begin.slot * n;
  for (std::int64_t i = threadIdx.x; i < n; i += kBeginThreads) words[i] = 0;
  __syncthreads();
  const std::int32_t* const prompt = ids + begin.first;
  const std::int32_t* const drawn = prompt + begin.num_prompt;
  for (int i = static_cast<int>(threadIdx.x); i < begin.num_prompt; i += kBeginThreads) {
    atomicOr(&words[prompt[i]], kInPrompt);
  }
  for (int i = static_cast<int>(threadIdx.x); i < begin.num_drawn; i += kBeginThreads) {
    atomicOr(&words[drawn[i]], DrawsOf(begin.phase, 0));
    atomicAdd(&words[drawn[i]], 1U);
  }
}

__global__ void CountDrawsKernel(DrawView view, const std::int32_t* ids, std::int64_t n,
                                 std::uint32_t* counts) {
  WaitForPrevious();
  AllowNext();
  const int l = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (l >= view.num_rows || view.slots[l] < 0) return;
  const step::SamplingParams& slot = view.slot_sampling[view.slots[l]];
  const step::Phase phase = PhaseOf(view, l, slot);
  if (!slot.phases[phase].counts()) return;
  std::uint32_t& word = counts[view.slots[l] * n + ids[l]];
  word = WithOneMoreDraw(word, phase);
}

}  // namespace

void LaunchAdjustLogits(const Tensor& logits, const DrawView& view, const AdjustView& adjust,
                        const Tensor& adjusted, cudaStream_t stream) {
  const std::int64_t n = view.vocab_size;
  Check(logits.dtype == DType::kF32 && n > 0 && n <= logits.dim(1), "logits are f32 [L, V]");
  Check(adjusted.dtype == DType::kF32 && adjusted.dim(1) == n && adjust.counts.dim(1) == n,
        "adjusted logits and counts have the vocabulary's columns");
  Check(view.num_rows < (1 << 16), "rows fit in a grid");
  if (view.num_rows == 0) return;
  Launch(&AdjustKernel,
         {.grid = dim3(static_cast<unsigned>((n + kColumns - 1) / kColumns),
                       static_cast<unsigned>(view.num_rows)),
          .block = dim3(kThreads)},
         stream, logits.as<float>(), logits.dim(1), view, adjust, adjusted.as<float>());
}

void LaunchBeginCounts(const CountsBegin* begins, std::int32_t num_begins, const std::int32_t* ids,
                       const Tensor& counts, cudaStream_t stream) {
  if (num_begins == 0) return;
  Launch(&BeginCountsKernel,
         {.grid = dim3(static_cast<unsigned>(num_begins)), .block = dim3(kBeginThreads)}, stream,
         begins, ids, counts.dim(1), counts.as<std::uint32_t>());
}

void LaunchCountDraws(const DrawView& view, const Tensor& ids, const Tensor& counts,
                      cudaStream_t stream) {
  if (view.num_rows == 0) return;
  const auto blocks = static_cast<unsigned>((view.num_rows + kThreads - 1) / kThreads);
  Launch(&CountDrawsKernel, {.grid = dim3(blocks), .block = dim3(kThreads)}, stream, view,
         ids.as<std::int32_t>(), counts.dim(1), counts.as<std::uint32_t>());
}

}  // namespace thinkwire::worker::kernels
