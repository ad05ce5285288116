#include "worker/model/layers/attention.h"

#include <array>
#include <cmath>
#include <vector>

namespace thinkwire::worker::model {
namespace {

using kernels::Tensor;
using kernels::WeightSlice;

// Rows [first, first + rows) of a projection's matrix or bias.
struct HeadRows {
  const char* name;
  std::int64_t total_rows;
  std::int64_t first;
  std::int64_t rows;
};

std::vector<HostSlice> SliceRows(std::span<const HeadRows> parts, std::int64_t layer,
                                 std::int64_t cols, bool is_bias, const WeightSource& source) {
  std::vector<HostSlice> slices;
  for (const HeadRows& part : parts) {
    const std::string name = LayerTensorName(layer, part.name) + (is_bias ? ".bias" : ".weight");
    slices.push_back(
        source.Slice({name, part.total_rows, cols, is_bias}, {part.first, part.rows, 0, cols}));
  }
  return slices;
}

std::vector<WeightSlice> Views(std::span<const HostSlice> slices) {
  std::vector<WeightSlice> views;
  for (const HostSlice& slice : slices) views.push_back(slice.slice);
  return views;
}

}  // namespace

AttentionWeights LoadAttention(const ModelConfig& config, const RankShape& shape,
                               std::int64_t layer, const WeightSource& source,
                               kernels::Backend& backend) {
  const std::int64_t d = config.head_dim;
  const std::int64_t q_rows = shape.num_heads * d;
  const std::int64_t kv_rows = shape.num_kv_heads * d;
  const std::int64_t first_q = shape.first_head * d;
  const std::int64_t first_kv = shape.first_kv_head * d;
  const std::array<HeadRows, 3> parts = {
      {{"self_attn.q_proj", config.q_size(), first_q, q_rows},
       {"self_attn.k_proj", config.kv_size(), first_kv, kv_rows},
       {"self_attn.v_proj", config.kv_size(), first_kv, kv_rows}}};
  const auto matrices = SliceRows(parts, layer, config.hidden_size, false, source);
  std::vector<HostSlice> biases;
  if (config.qkv_bias) biases = SliceRows(parts, layer, 1, true, source);
  const HostSlice out = source.Slice({LayerTensorName(layer, "self_attn.o_proj.weight"),
                                      config.hidden_size, config.q_size(), false},
                                     {0, config.hidden_size, first_q, q_rows});
  AttentionWeights weights;
  weights.qkv = backend.MakeLinear(Views(matrices), Views(biases), kernels::LinearLayout::kQkv);
  weights.out = backend.MakeLinear({&out.slice, 1}, {}, kernels::LinearLayout::kPlain);
  return weights;
}

Attention::Attention(const ModelConfig& config, const RankShape& shape, const Tensor& rope,
                     std::int64_t max_tokens, kernels::Backend& backend)
    : backend_(backend),
      rope_(rope),
      num_heads_(shape.num_heads),
      head_dim_(config.head_dim),
      scale_(1.0F / std::sqrt(static_cast<float>(config.head_dim))),
      q_(backend, max_tokens, shape.num_heads * config.head_dim),
      attended_(backend, max_tokens, shape.num_heads * config.head_dim) {}

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
