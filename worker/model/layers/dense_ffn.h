#pragma once

#include <cstdint>
#include <memory>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/layer_part.h"

namespace thinkwire::worker::model {

// The dense SwiGLU block. It keeps nothing in the KV cache.
class DenseFfn final : public LayerPart {
 public:
  // The plan's weights are [2 F, E], gate then up, and [E, F]. The backend and the scratch must
  // outlive the part; the rest of `place` is read here alone.
  DenseFfn(const PartPlan& part, const PartPlace& place);

  void Run(const kernels::Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
           const kernels::Tensor& partial) override;
  std::int64_t bytes() const override;

 private:
  kernels::Backend& backend_;
  const std::unique_ptr<kernels::LinearWeight> gate_up_;
  const std::unique_ptr<kernels::LinearWeight> down_;
  const Activation& gated_;
};

}  // namespace thinkwire::worker::model
