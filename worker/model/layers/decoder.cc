#include "worker/model/layers/decoder.h"

#include <cstddef>
#include <utility>

namespace thinkwire::worker::model {
namespace {

using kernels::Buffer;
using kernels::DType;
using kernels::Tensor;

}  // namespace

Decoder::Decoder(const DecoderParts& parts, const step::Limits& limits)
    : parts_(parts),
      residual_(parts.backend, limits.max_num_batched_tokens, parts.plan.config.hidden_size),
      next_residual_(parts.backend, limits.max_num_batched_tokens, parts.plan.config.hidden_size),
      x_(parts.backend, limits.max_num_batched_tokens, parts.plan.config.hidden_size),
      partial_(parts.backend, limits.max_num_batched_tokens, parts.plan.config.hidden_size),
      last_x_(parts.backend, limits.most_draws(), parts.plan.config.hidden_size),
      local_logits_(parts.backend, DType::kF32, limits.most_draws(),
                    parts.shape.of(Division::kVocabulary).size()),
      logits_(parts.backend, DType::kF32, parts.shape.ranks > 1 ? limits.most_draws() : 0,
              parts.shape.of(Division::kVocabulary).size() * parts.shape.ranks) {}

Tensor Decoder::NormWeight(const Buffer& weight) const {
  return kernels::MakeTensor(weight.data(), DType::kBf16, parts_.plan.config.hidden_size);
}

void Decoder::Embed(const Tensor& ids, const Tensor& out) {
  const kernels::WeightSlice& rows = parts_.model.embedding();
  if (kernels::IsPacked(rows.encoding)) return parts_.backend.EmbedPacked(ids, rows, out);
  const Tensor table =
      kernels::MakeTensor(const_cast<void*>(rows.data), DType::kBf16, rows.rows, rows.cols);
  parts_.backend.Embed(ids, table, out);
}

void Decoder::RunLayers(const Batch& batch, const Tensor& x) {
  const RankModel& model = parts_.model;
  const float eps = parts_.plan.config.rms_norm_eps;
  Tensor residual = residual_.Rows(batch.num_tokens());
  Tensor next_residual = next_residual_.Rows(batch.num_tokens());
  const Tensor partial = partial_.Rows(batch.num_tokens());
  const auto add_norm = [&](const Buffer& weight) {
    parts_.communicator.AllReduceAddRmsNorm(parts_.backend, {.partial = partial,
                                                             .residual = residual,
                                                             .sum = next_residual,
                                                             .weight = NormWeight(weight),
                                                             .eps = eps,
                                                             .out = x});
    std::swap(residual, next_residual);
  };
  Embed(batch.ids(), residual);
  parts_.backend.RmsNorm(residual, NormWeight(model.first_norm()), eps, x);
  for (std::size_t i = 0; i < model.num_layers(); ++i) {
    parts_.heartbeat.Layer(i + 1);
    const kernels::KvLayer& kv = parts_.kv_cache.layer(static_cast<std::int64_t>(i));
    for (std::size_t p = 0; p < model.num_parts(i); ++p) {
      model.part(i, p).Run(x, batch.view(), kv, partial);
      add_norm(model.NormAfter(i, p));
    }
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
  parts_.heartbeat.Layer(parts_.model.num_layers() + 1);
  const std::int64_t rows = batch.num_logits();
  const Tensor local = local_logits_.Rows(rows);
  if (rows == 0) return local;
  parts_.backend.LmHead(RowsThatDraw(batch, x), parts_.model.head(), local);
  if (parts_.shape.ranks == 1) return local;
  const Tensor logits = logits_.Rows(rows);
  parts_.communicator.AllGatherColumns(local, logits);
  return logits;
}

}  // namespace thinkwire::worker::model
