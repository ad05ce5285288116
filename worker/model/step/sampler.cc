#include "worker/model/step/sampler.h"

namespace thinkwire::worker::model {
namespace {

using kernels::DType;
using kernels::MakeTensor;
using kernels::Tensor;

constexpr std::int64_t kDrawnPlain = 3;

}  // namespace

Sampler::Sampler(const step::Limits& limits, kernels::Backend& backend)
    : backend_(backend), limits_(limits) {
  const auto slots = static_cast<std::size_t>(limits.max_num_seqs);
  const auto draws = static_cast<std::size_t>(limits.most_draws());
  last_drawn_ = backend.Allocate(slots * sizeof(std::int32_t));
  drawn_ = backend.Allocate(kDrawnMost * draws * sizeof(std::int32_t));
  adjusted_ = backend.Allocate(draws * static_cast<std::size_t>(limits.vocab_size) * sizeof(float));
}

Tensor Sampler::last_drawn() const {
  return MakeTensor(last_drawn_.data(), DType::kI32, limits_.max_num_seqs);
}

Tensor Sampler::drawn(const Batch& batch) const {
  return MakeTensor(drawn_.data(), DType::kI32,
                    batch.kind() == DrawKind::kPlain ? kDrawnPlain : kDrawnMost,
                    batch.num_logits());
}

void Sampler::Draw(const Tensor& logits, const Batch& batch) {
  kernels::DrawView view = batch.draw_view();
  view.vocab_size = limits_.vocab_size;
  const std::int64_t rows = batch.num_logits();
  auto* const words = static_cast<std::int32_t*>(drawn_.data());
  const Tensor ids = MakeTensor(words, DType::kI32, rows);
  Tensor drawn_from = logits;
  const bool adjusts = batch.kind() == DrawKind::kAdjusted;
  if (adjusts) {
    drawn_from = MakeTensor(adjusted_.data(), DType::kF32, rows, limits_.vocab_size);
    backend_.AdjustLogits(logits, view, batch.adjust_view(), drawn_from);
  }
  backend_.Draw(drawn_from, view, ids, MakeTensor(words + rows, DType::kF32, rows),
                MakeTensor(words + 2 * rows, DType::kI32, rows), last_drawn());
  if (adjusts) backend_.CountDraws(view, ids, batch.adjust_view().counts);
  if (batch.kind() == DrawKind::kPlain) return;
  kernels::LogprobsView report = batch.logprobs_view();
  report.vocab_size = limits_.vocab_size;
  report.ids = words;
  report.logprobs = reinterpret_cast<float*>(words + rows);
  report.alternative_ids = words + kDrawnPlain * rows;
  report.alternative_logprobs =
      reinterpret_cast<float*>(report.alternative_ids + rows * step::kMaxAlternatives);
  backend_.Logprobs(logits, report);
}

}  // namespace thinkwire::worker::model
