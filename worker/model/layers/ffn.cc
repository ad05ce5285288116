#include "worker/model/layers/ffn.h"

#include <array>

namespace thinkwire::worker::model {

FeedForwardWeights LoadFeedForward(const ModelConfig& config, const RankShape& shape,
                                   std::int64_t layer, const WeightSource& source,
                                   kernels::Backend& backend) {
  const std::int64_t e = config.hidden_size;
  const std::int64_t f = config.intermediate_size;
  const Region rows = {shape.first_ffn, shape.ffn, 0, e};
  const HostSlice gate =
      source.Slice({LayerTensorName(layer, "mlp.gate_proj.weight"), f, e, false}, rows);
  const HostSlice up =
      source.Slice({LayerTensorName(layer, "mlp.up_proj.weight"), f, e, false}, rows);
  const HostSlice down = source.Slice({LayerTensorName(layer, "mlp.down_proj.weight"), e, f, false},
                                      {0, e, shape.first_ffn, shape.ffn});
  const std::array<kernels::WeightSlice, 2> gate_up = {gate.slice, up.slice};
  FeedForwardWeights weights;
  weights.gate_up = backend.MakeLinear(gate_up, {}, kernels::LinearLayout::kGateUp);
  weights.down = backend.MakeLinear({&down.slice, 1}, {}, kernels::LinearLayout::kPlain);
  return weights;
}

FeedForward::FeedForward(const RankShape& shape, std::int64_t max_tokens, kernels::Backend& backend)
    : backend_(backend), gated_(backend, max_tokens, shape.ffn) {}

void FeedForward::Run(const FeedForwardWeights& weights, const kernels::Tensor& x,
                      const kernels::Tensor& partial) {
  const kernels::Tensor gated = gated_.Rows(x.dim(0));
  backend_.GateUpSwiGlu(x, *weights.gate_up, gated);
  backend_.Linear(gated, *weights.down, partial);
}

}  // namespace thinkwire::worker::model
