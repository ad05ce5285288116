#include "worker/model/layers/ffn.h"

namespace thinkwire::worker::model {

FeedForwardWeights LoadFeedForward(const PartPlan& part, const LoadPlace& place) {
  return {.gate_up = LoadLinear(part.weights[0], place),
          .down = LoadLinear(part.weights[1], place)};
}

FeedForward::FeedForward(const RankShape& shape, std::int64_t max_tokens, kernels::Backend& backend)
    : backend_(backend), gated_(backend, max_tokens, shape.of(Division::kFfn).size()) {}

void FeedForward::Run(const FeedForwardWeights& weights, const kernels::Tensor& x,
                      const kernels::Tensor& partial) {
  const kernels::Tensor gated = gated_.Rows(x.dim(0));
  backend_.GateUpSwiGlu(x, *weights.gate_up, gated);
  backend_.Linear(gated, *weights.down, partial);
}

}  // namespace thinkwire::worker::model
