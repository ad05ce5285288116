#include <algorithm>
#include <cstdint>

#include "worker/kernels/adjust.h"
#include "worker/kernels/check.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/draw_phase.h"

// Logits with bias and penalties (adjust.h has the formula), and the counts that those need.
namespace thinkwire::worker::kernels {

void CpuBackend::BeginCounts(const CountsBegin* begins, std::int32_t num_begins,
                             const std::int32_t* ids, const Tensor& counts) {
  const std::int64_t n = counts.dim(1);
  for (const CountsBegin* begin = begins; begin != begins + num_begins; ++begin) {
    auto* const words = counts.as<std::uint32_t>() + begin->slot * n;
    std::fill(words, words + n, 0U);
    const std::int32_t* id = ids + begin->first;
    for (std::int32_t i = 0; i < begin->num_prompt; ++i) words[*id++] |= kInPrompt;
    for (std::int32_t i = 0; i < begin->num_drawn; ++i, ++id) {
      words[*id] = WithOneMoreDraw(words[*id], begin->phase);
    }
  }
}

void CpuBackend::AdjustLogits(const Tensor& logits, const DrawView& view, const AdjustView& adjust,
                              const Tensor& adjusted) {
  const std::int64_t n = view.vocab_size;
  Check(logits.dtype == DType::kF32 && n > 0 && n <= logits.dim(1), "logits are f32 [L, V]");
  Check(adjusted.dtype == DType::kF32 && adjusted.dim(1) == n && adjust.counts.dim(1) == n,
        "adjusted logits and counts have the vocabulary's columns");
  pool_.For(view.num_rows, 1, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t l = begin; l < end; ++l) {
      if (view.slots[l] < 0) continue;
      const float* const x = logits.as<float>() + l * logits.dim(1);
      float* const y = adjusted.as<float>() + l * n;
      const step::SamplingParams& slot = view.slot_sampling[view.slots[l]];
      const step::Phase phase = PhaseOf(view, l, slot);
      std::fill(y, y + n, 0.0F);
      const step::LogitBias* const biases =
          adjust.biases +
          (2 * std::int64_t{view.slots[l]} + static_cast<int>(phase)) * step::kMaxLogitBiases;
      for (std::int32_t i = 0; i < slot.phases[phase].num_biases; ++i)
        y[biases[i].id] = biases[i].bias;
      const auto* const words = adjust.counts.as<std::uint32_t>() + view.slots[l] * n;
      const bool counts = slot.phases[phase].counts();
      const step::MaskWord* const mask = MaskOf(view, adjust, l);
      for (std::int64_t i = 0; i < n; ++i) {
        y[i] =
            Masked(Adjusted(x[i], y[i], counts ? words[i] : 0, slot.phases[phase], phase), mask, i);
      }
    }
  });
}

void CpuBackend::CountDraws(const DrawView& view, const Tensor& ids, const Tensor& counts) {
  for (std::int64_t l = 0; l < view.num_rows; ++l) {
    if (view.slots[l] < 0) continue;
    const step::SamplingParams& slot = view.slot_sampling[view.slots[l]];
    const step::Phase phase = PhaseOf(view, l, slot);
    if (!slot.phases[phase].counts()) continue;
    std::uint32_t& word =
        counts.as<std::uint32_t>()[view.slots[l] * counts.dim(1) + ids.as<std::int32_t>()[l]];
    word = WithOneMoreDraw(word, phase);
  }
}

}  // namespace thinkwire::worker::kernels
