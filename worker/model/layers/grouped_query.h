#pragma once

#include <cstdint>
#include <memory>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/layer_part.h"

namespace thinkwire::worker::model {

// Grouped-query attention with rotary positions. Its KV planes are keys and values.
class GroupedQuery final : public LayerPart {
 public:
  // The plan's weights are [(H + 2 K) D, E], queries then keys then values, and [E, H D].
  // The backend and the scratch must outlive the part; the rest of `place` is read here alone.
  GroupedQuery(const PartPlan& part, const PartPlace& place);

  void Run(const kernels::Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
           const kernels::Tensor& partial) override;
  std::int64_t bytes() const override;

 private:
  kernels::Backend& backend_;
  const kernels::Tensor rope_;
  const std::int64_t num_heads_;
  const std::int64_t head_dim_;
  const float scale_;
  const std::unique_ptr<kernels::LinearWeight> qkv_;
  const std::unique_ptr<kernels::LinearWeight> out_;
  const Activation& q_;
  const Activation& attended_;
};

}  // namespace thinkwire::worker::model
