#include "worker/model/sampler.h"

#include <cstring>

#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

using kernels::DType;
using kernels::SlotSampling;
using kernels::Tensor;

constexpr int kIds = 0;
constexpr int kLogprobs = 1;
constexpr int kNotFinite = 2;
constexpr std::size_t kNumOutputs = 3;
constexpr std::size_t kWord = 4;

SlotSampling DeviceForm(const engine::SamplingParams& params) {
  SlotSampling slot = {};
  for (std::size_t phase = 0; phase < params.phases.size(); ++phase) {
    const engine::PhaseSampling& from = params.phases[phase];
    slot.temperature[phase] = from.temperature;
    slot.top_p[phase] = from.top_p;
    slot.min_p[phase] = from.min_p;
    slot.top_k[phase] = from.top_k;
  }
  slot.seed = params.seed;
  slot.output_index = params.output_index;
  slot.think_end_id = params.think_end_id;
  return slot;
}

}  // namespace

Sampler::Sampler(const engine::RunnerLimits& limits, kernels::Backend& backend)
    : backend_(backend), limits_(limits) {
  const auto slots = static_cast<std::size_t>(limits.max_num_seqs);
  slots_ = backend.Allocate(slots * sizeof(SlotSampling));
  last_sampled_ = backend.Allocate(slots * kWord);
  outputs_ = backend.Allocate(kNumOutputs * slots * kWord);
}

void Sampler::Apply(const std::vector<engine::SamplingChange>& changes) {
  for (const engine::SamplingChange& change : changes) {
    CHECK(change.slot >= 0 && change.slot < limits_.max_num_seqs,
          "a sampling change's slot is out of range");
    const SlotSampling slot = DeviceForm(change.params);
    backend_.CopyToDevice(static_cast<SlotSampling*>(slots_.data()) + change.slot, &slot,
                          sizeof(slot));
  }
}

Tensor Sampler::last_sampled() const {
  return kernels::MakeTensor(last_sampled_.data(), DType::kI32, limits_.max_num_seqs);
}

Tensor Sampler::Output(int index, DType dtype, std::int64_t rows) const {
  auto* base = static_cast<std::byte*>(outputs_.data());
  const std::int64_t offset = static_cast<std::int64_t>(kWord) * index * limits_.max_num_seqs;
  return kernels::MakeTensor(base + offset, dtype, rows);
}

void Sampler::Draw(const Tensor& logits, const Batch& batch) {
  kernels::SampleView view = batch.sample_view();
  view.slot_sampling = static_cast<const SlotSampling*>(slots_.data());
  view.vocab_size = limits_.vocab_size;
  const std::int64_t rows = batch.num_logits();
  backend_.Sample(logits, view, Output(kIds, DType::kI32, rows),
                  Output(kLogprobs, DType::kF32, rows), Output(kNotFinite, DType::kI32, rows),
                  last_sampled());
}

engine::StepResult Sampler::Collect(const engine::StepPlan& plan) {
  engine::StepResult result;
  result.step = plan.step;
  for (const engine::Row& row : plan.rows) {
    if (!row.sample) continue;
    const auto index = static_cast<std::int32_t>(result.rows.size());
    result.rows.push_back({row.slot, index, 1, false});
    result.logprobs.push_back(row.logprob ? 1.0F : 0.0F);
  }
  const std::size_t rows = result.rows.size();
  if (rows == 0) return result;
  std::vector<float> logprobs(rows);
  std::vector<std::int32_t> not_finite(rows);
  result.ids.resize(rows);
  const auto size = static_cast<std::int64_t>(rows);
  backend_.CopyToHost(result.ids.data(), Output(kIds, DType::kI32, size).data, rows * kWord);
  backend_.CopyToHost(logprobs.data(), Output(kLogprobs, DType::kF32, size).data, rows * kWord);
  backend_.CopyToHost(not_finite.data(), Output(kNotFinite, DType::kI32, size).data, rows * kWord);
  for (std::size_t i = 0; i < rows; ++i) {
    result.rows[i].not_finite = not_finite[i] != 0;
    result.logprobs[i] = result.logprobs[i] != 0.0F ? logprobs[i] : 0.0F;
  }
  return result;
}

}  // namespace thinkwire::worker::model
