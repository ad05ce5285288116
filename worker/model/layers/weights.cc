#include "worker/model/layers/weights.h"

#include <utility>

namespace thinkwire::worker::model {
namespace {

std::size_t LayerBytes(const LayerWeights& layer) {
  return layer.input_norm.bytes() + layer.post_attention_norm.bytes() +
         layer.attention.qkv->bytes() + layer.attention.out->bytes() + layer.ffn.gate_up->bytes() +
         layer.ffn.down->bytes();
}

}  // namespace

std::int64_t RankWeights::bytes_per_token() const {
  std::size_t total = final_norm.bytes() + head->bytes();
  for (const LayerWeights& layer : layers) total += LayerBytes(layer);
  return static_cast<std::int64_t>(total);
}

std::int64_t RankWeights::bytes() const {
  return bytes_per_token() + static_cast<std::int64_t>(embedding.bytes());
}

RankWeights LoadRankWeights(const ModelPlan& plan, const LoadPlace& place) {
  RankWeights weights;
  weights.embedding = LoadTable(plan.embedding, place);
  for (const LayerPlan& layer_plan : plan.layers) {
    LayerWeights layer;
    layer.input_norm = LoadTable(layer_plan[0].norm, place);
    layer.attention = LoadAttention(layer_plan[0], place);
    layer.post_attention_norm = LoadTable(layer_plan[1].norm, place);
    layer.ffn = LoadFeedForward(layer_plan[1], place);
    weights.layers.push_back(std::move(layer));
  }
  weights.final_norm = LoadTable(plan.final_norm, place);
  weights.head = LoadLinear(plan.head, place);
  return weights;
}

}  // namespace thinkwire::worker::model
