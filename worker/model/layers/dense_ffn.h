#pragma once

#include <cstdint>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/layer_part.h"
#include "worker/model/layers/partial_sum.h"
#include "worker/model/layers/swiglu_weights.h"

namespace thinkwire::worker::model {

// The dense SwiGLU block. It keeps nothing in the KV cache.
class DenseFfn final : public LayerPart {
 public:
  // The plan's weights are PlanSwiGlu's. The backend and the scratch must
  // outlive the part; the rest of `place` is read here alone.
  DenseFfn(const PartPlan& part, const PartPlace& place);

  void Run(const kernels::Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
           const kernels::Tensor& partial) override;
  std::int64_t bytes() const override;

 private:
  kernels::Backend& backend_;
  const std::vector<SwiGluWeights> blocks_;  // of the SummedShapes
  const PartialSum sum_;
  const Activation& gated_;  // [T, a block's F]
};

}  // namespace thinkwire::worker::model
