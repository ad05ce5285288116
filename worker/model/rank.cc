#include "worker/model/rank.h"

namespace thinkwire::worker::model {

Rank::Rank(const ModelConfig& config, const RankShape& shape, const engine::RunnerLimits& limits,
           const WeightSource& source, std::span<const float> rope, kernels::Backend& backend,
           parallel::Communicator& communicator)
    : backend_(backend),
      shape_(shape),
      weights_(LoadRankWeights(config, shape, source, backend)),
      kv_cache_(
          GroupedQueryKvLayout(config, shape, limits.block_tokens, backend.activation_dtype()),
          limits.num_blocks, backend),
      batch_(limits, backend),
      sampler_(limits, backend),
      decoder_({config, shape_, weights_, kv_cache_, backend, communicator}, limits, rope) {}

// The device may still read and write what the members free.
Rank::~Rank() { backend_.Synchronize(); }

kernels::Tensor Rank::Forward(const engine::StepPlan& plan) {
  batch_.Load(plan);
  batch_.GatherIds(sampler_.last_sampled());
  return decoder_.Forward(batch_);
}

void Rank::Step(const engine::StepPlan& plan) {
  const kernels::Tensor logits = Forward(plan);
  if (batch_.num_logits() > 0) sampler_.Draw(logits, batch_);
}

}  // namespace thinkwire::worker::model
