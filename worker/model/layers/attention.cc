#include "worker/model/layers/attention.h"

#include <cmath>

namespace thinkwire::worker::model {
namespace {

using kernels::Tensor;

}  // namespace

AttentionWeights LoadAttention(const PartPlan& part, const LoadPlace& place) {
  return {.qkv = LoadLinear(part.weights[0], place), .out = LoadLinear(part.weights[1], place)};
}

Attention::Attention(const ModelConfig& config, const RankShape& shape, const Tensor& rope,
                     std::int64_t max_tokens, kernels::Backend& backend)
    : backend_(backend),
      rope_(rope),
      num_heads_(shape.of(Division::kQueryHeads).count),
      head_dim_(config.head_dim),
      scale_(1.0F / std::sqrt(static_cast<float>(config.head_dim))),
      q_(backend, max_tokens, shape.of(Division::kQueryHeads).size()),
      attended_(backend, max_tokens, shape.of(Division::kQueryHeads).size()) {}

void Attention::Run(const AttentionWeights& weights, const Tensor& x,
                    const kernels::BatchView& batch, const kernels::KvLayer& kv,
                    const Tensor& partial) {
  const std::int64_t tokens = x.dim(0);
  const Tensor q_flat = q_.Rows(tokens);
  const Tensor out_flat = attended_.Rows(tokens);
  const Tensor q = kernels::MakeTensor(q_flat.data, q_flat.dtype, tokens, num_heads_, head_dim_);
  const Tensor out =
      kernels::MakeTensor(out_flat.data, out_flat.dtype, tokens, num_heads_, head_dim_);
  backend_.QkvRopeWriteKv(x, *weights.qkv, rope_, batch, kv, q);
  backend_.PagedAttention(q, batch, kv, scale_, out);
  backend_.Linear(out_flat, *weights.out, partial);
}

}  // namespace thinkwire::worker::model
