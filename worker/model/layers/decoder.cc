#include "worker/model/layers/decoder.h"

#include <cstddef>
#include <utility>

namespace thinkwire::worker::model {
namespace {

using kernels::Buffer;
using kernels::DType;
using kernels::Tensor;

Buffer CopyRope(std::span<const float> rope, kernels::Backend& backend) {
  Buffer buffer = backend.Allocate(rope.size_bytes());
  backend.CopyToDevice(buffer.data(), rope.data(), rope.size_bytes());
  return buffer;
}

Tensor RopeTensor(const Buffer& rope, std::int64_t head_dim) {
  const auto floats = static_cast<std::int64_t>(rope.bytes() / sizeof(float));
  return kernels::MakeTensor(rope.data(), DType::kF32, floats / head_dim, head_dim);
}

}  // namespace

Decoder::Decoder(const DecoderParts& parts, const step::Limits& limits, std::span<const float> rope)
    : parts_(parts),
      rope_(CopyRope(rope, parts.backend)),
      attention_(parts.config, parts.shape, RopeTensor(rope_, parts.config.head_dim),
                 limits.max_num_batched_tokens, parts.backend),
      ffn_(parts.shape, limits.max_num_batched_tokens, parts.backend),
      residual_(parts.backend, limits.max_num_batched_tokens, parts.config.hidden_size),
      next_residual_(parts.backend, limits.max_num_batched_tokens, parts.config.hidden_size),
      x_(parts.backend, limits.max_num_batched_tokens, parts.config.hidden_size),
      partial_(parts.backend, limits.max_num_batched_tokens, parts.config.hidden_size),
      last_x_(parts.backend, limits.most_draws(), parts.config.hidden_size),
      local_logits_(parts.backend, DType::kF32, limits.most_draws(), parts.shape.vocab),
      logits_(parts.backend, DType::kF32, parts.shape.ranks > 1 ? limits.most_draws() : 0,
              parts.shape.vocab * parts.shape.ranks) {}

Tensor Decoder::NormWeight(const Buffer& weight) const {
  return kernels::MakeTensor(weight.data(), DType::kBf16, parts_.config.hidden_size);
}

void Decoder::RunLayers(const Batch& batch, const Tensor& x) {
  const RankWeights& weights = parts_.weights;
  const float eps = parts_.config.rms_norm_eps;
  Tensor residual = residual_.Rows(batch.num_tokens());
  Tensor next_residual = next_residual_.Rows(batch.num_tokens());
  const Tensor partial = partial_.Rows(batch.num_tokens());
  const Tensor table = kernels::MakeTensor(weights.embedding.data(), DType::kBf16,
                                           parts_.config.vocab_size, parts_.config.hidden_size);
  const auto add_norm = [&](const Buffer& weight) {
    parts_.communicator.AllReduceAddRmsNorm(parts_.backend, {.partial = partial,
                                                             .residual = residual,
                                                             .sum = next_residual,
                                                             .weight = NormWeight(weight),
                                                             .eps = eps,
                                                             .out = x});
    std::swap(residual, next_residual);
  };
  parts_.backend.Embed(batch.ids(), table, residual);
  parts_.backend.RmsNorm(residual, NormWeight(weights.layers.front().input_norm), eps, x);
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    parts_.heartbeat.Layer(i + 1);
    const LayerWeights& layer = weights.layers[i];
    const bool is_last = i + 1 == weights.layers.size();
    const Buffer& next_norm = is_last ? weights.final_norm : weights.layers[i + 1].input_norm;
    attention_.Run(layer.attention, x, batch.view(),
                   parts_.kv_cache.layer(static_cast<std::int64_t>(i)), partial);
    add_norm(layer.post_attention_norm);
    ffn_.Run(layer.ffn, x, partial);
    add_norm(next_norm);
  }
}

Tensor Decoder::RowsThatDraw(const Batch& batch, const Tensor& x) {
  // A token is followed by one draw at most: as many draws as tokens are one of each, in order.
  if (batch.num_logits() == batch.num_tokens()) return x;
  const Tensor last_x = last_x_.Rows(batch.num_logits());
  parts_.backend.GatherRows(x, batch.logit_tokens(), last_x);
  return last_x;
}

Tensor Decoder::Forward(const Batch& batch) {
  const Tensor x = x_.Rows(batch.num_tokens());
  RunLayers(batch, x);
  parts_.heartbeat.Layer(parts_.weights.layers.size() + 1);
  const std::int64_t rows = batch.num_logits();
  const Tensor local = local_logits_.Rows(rows);
  if (rows == 0) return local;
  parts_.backend.LmHead(RowsThatDraw(batch, x), *parts_.weights.head, local);
  if (parts_.shape.ranks == 1) return local;
  const Tensor logits = logits_.Rows(rows);
  parts_.communicator.AllGatherColumns(local, logits);
  return logits;
}

}  // namespace thinkwire::worker::model
