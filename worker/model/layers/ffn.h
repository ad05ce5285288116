#pragma once

#include <memory>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/load_weight.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {

// One layer's feed-forward weights, a rank's share.
struct FeedForwardWeights {
  std::unique_ptr<kernels::LinearWeight> gate_up;  // [2 F, E]
  std::unique_ptr<kernels::LinearWeight> down;     // [E, F]
};

FeedForwardWeights LoadFeedForward(const PartPlan& part, const LoadPlace& place);

// The dense SwiGLU block.
// Owns: the activation between its ops. Threads: the rank's.
class FeedForward {
 public:
  // `backend` must outlive this object.
  FeedForward(const RankShape& shape, std::int64_t max_tokens, kernels::Backend& backend);

  // partial = this rank's share of the block over x; ranks add up to the whole. act [T, E].
  void Run(const FeedForwardWeights& weights, const kernels::Tensor& x,
           const kernels::Tensor& partial);

 private:
  kernels::Backend& backend_;
  Activation gated_;
};

}  // namespace thinkwire::worker::model
