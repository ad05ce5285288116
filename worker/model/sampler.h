#pragma once

#include <cstdint>
#include <vector>

#include "worker/engine/runner.h"
#include "worker/kernels/backend.h"
#include "worker/model/batch.h"

namespace thinkwire::worker::model {

// Draws the tokens of a step on the device. Every rank draws the same from the same logits, so
// that each has the ids for its next step without asking.
// Owns: the slots' sampling parameters, their last sampled ids, and what a step drew.
// Threads: the rank's.
class Sampler {
 public:
  // `backend` must outlive the sampler.
  Sampler(const engine::RunnerLimits& limits, kernels::Backend& backend);

  // The slots' parameters from now on.
  void Apply(const std::vector<engine::SamplingChange>& changes);

  // i32 [Q]: the id last drawn for each slot.
  kernels::Tensor last_sampled() const;

  // Draws a token for each row of `logits`, f32 [L, columns], L = batch.num_logits() >= 1.
  void Draw(const kernels::Tensor& logits, const Batch& batch);

  // Waits for the last Draw and copies what it gave to the rows of `plan` that draw.
  engine::StepResult Collect(const engine::StepPlan& plan);

 private:
  kernels::Tensor Output(int index, kernels::DType dtype, std::int64_t rows) const;

  kernels::Backend& backend_;
  const engine::RunnerLimits limits_;
  kernels::Buffer slots_;         // SlotSampling [Q]
  kernels::Buffer last_sampled_;  // i32 [Q]
  kernels::Buffer outputs_;       // ids i32 [Q], logprobs f32 [Q], not_finite i32 [Q]
};

}  // namespace thinkwire::worker::model
