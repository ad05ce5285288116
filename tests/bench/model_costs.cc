#include "tests/bench/model_costs.h"

#include <string_view>

#include "worker/model/layers/rank_shape.h"

namespace thinkwire::bench {

std::int64_t KvBytesPerToken(const worker::model::ModelConfig& config, std::int32_t ranks,
                             std::int64_t element_bytes) {
  const auto shape = worker::model::ShapeOfRank(worker::model::MakePlan(config), 0, ranks);
  const std::int64_t rank_kv_size = shape.of(worker::model::Division::kKvHeads).size();
  return 2 * config.num_layers * ranks * rank_kv_size * element_bytes;
}

namespace {

// Of a key's or value's element.
std::int64_t BytesOf(std::string_view kv_cache_dtype) {
  if (kv_cache_dtype == "f32") return 4;
  return kv_cache_dtype == "fp8_e4m3" ? 1 : 2;
}

}  // namespace

ModelCosts::ModelCosts(const worker::model::ModelConfig& config,
                       const worker::model::ModelInfo& info, std::int32_t ranks) {
  kv_bytes_per_token_ = KvBytesPerToken(config, ranks, BytesOf(info.kv_cache_dtype));
  weight_bytes_per_step_ = info.weight_bytes_per_token;
  const std::int64_t layer_weights =
      config.hidden_size * (2 * config.q_size() + 2 * config.kv_size()) +
      3 * config.hidden_size * config.intermediate_size;
  linear_weights_ = config.num_layers * layer_weights;
  head_weights_ = config.hidden_size * config.vocab_size;
  attention_width_ = config.num_layers * config.q_size();
}

double ModelCosts::DecodeStepBytes(std::int32_t sequences, double context) const {
  return static_cast<double>(weight_bytes_per_step_) +
         sequences * context * static_cast<double>(kv_bytes_per_token_);
}

double ModelCosts::PrefillFlops(std::int64_t tokens) const {
  const auto t = static_cast<double>(tokens);
  const double query_key_pairs = t * (t + 1) / 2;
  return 2 * t * static_cast<double>(linear_weights_) + 2 * static_cast<double>(head_weights_) +
         4 * query_key_pairs * static_cast<double>(attention_width_);
}

}  // namespace thinkwire::bench
