#pragma once

#include <memory>
#include <span>

#include "worker/engine/runner.h"
#include "worker/kernels/backend.h"
#include "worker/model/batch.h"
#include "worker/model/config.h"
#include "worker/model/decoder.h"
#include "worker/model/kv_cache.h"
#include "worker/model/sampler.h"
#include "worker/model/weights.h"
#include "worker/parallel/communicator.h"

namespace thinkwire::worker::model {

// One rank of a loaded model. Threads: built and used on the rank's own.
class Rank {
 public:
  // Loads the rank's share of `source`, which is not used afterwards. `config`, `backend` and
  // `communicator` must outlive the rank.
  Rank(const ModelConfig& config, const RankShape& shape, const engine::RunnerLimits& limits,
       const WeightSource& source, std::span<const float> rope, kernels::Backend& backend,
       parallel::Communicator& communicator);

  // Computes `plan` up to its logits, as Decoder::Forward returns them.
  kernels::Tensor Forward(const engine::StepPlan& plan);

  // Forward, then draws.
  void Step(const engine::StepPlan& plan);

  // What the last Step drew. Waits for the device.
  engine::StepResult Collect(const engine::StepPlan& plan) { return sampler_.Collect(plan); }

  const RankWeights& weights() const { return weights_; }

 private:
  const RankShape shape_;
  const RankWeights weights_;
  const KvCache kv_cache_;
  Batch batch_;
  Sampler sampler_;
  Decoder decoder_;
};

}  // namespace thinkwire::worker::model
