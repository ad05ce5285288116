#pragma once

#include <memory>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/load_weight.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {

// One layer's attention weights, a rank's share.
struct AttentionWeights {
  std::unique_ptr<kernels::LinearWeight> qkv;  // [(H + 2 K) D, E], q then keys then values
  std::unique_ptr<kernels::LinearWeight> out;  // [E, H D]
};

AttentionWeights LoadAttention(const PartPlan& part, const LoadPlace& place);

// Grouped-query attention with rotary positions.
// Owns: the activations between its ops. Threads: the rank's.
class Attention {
 public:
  // `rope` as Backend::QkvRopeWriteKv wants it; it and `backend` must outlive this object.
  Attention(const ModelConfig& config, const RankShape& shape, const kernels::Tensor& rope,
            std::int64_t max_tokens, kernels::Backend& backend);

  // partial = this rank's share of the attention block over x; ranks add up to the whole.
  // x, partial act [T, E]. Writes the tokens' keys and values to `kv`.
  void Run(const AttentionWeights& weights, const kernels::Tensor& x,
           const kernels::BatchView& batch, const kernels::KvLayer& kv,
           const kernels::Tensor& partial);

 private:
  kernels::Backend& backend_;
  const kernels::Tensor rope_;
  const std::int64_t num_heads_;
  const std::int64_t head_dim_;
  const float scale_;
  Activation q_;
  Activation attended_;
};

}  // namespace thinkwire::worker::model
