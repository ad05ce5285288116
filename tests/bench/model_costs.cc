#include "tests/bench/model_costs.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::bench {

std::int64_t KvBytesPerToken(const worker::model::ModelConfig& config, std::int32_t ranks,
                             std::int64_t element_bytes) {
  const auto shape = worker::model::ShapeOfRank(worker::model::MakePlan(config), 0, ranks);
  const worker::model::ModelPlan plan = worker::model::MakePlan(config);
  const std::int64_t of_floats =
      worker::model::KvLayoutOf(plan, shape, 1, worker::kernels::DType::kF32).block_bytes();
  return of_floats / 4 * ranks * element_bytes;
}

namespace {

// Of a key's or value's element.
std::int64_t BytesOf(std::string_view kv_cache_dtype) {
  if (kv_cache_dtype == "f32") return 4;
  return kv_cache_dtype == "fp8_e4m3" ? 1 : 2;
}

// What a token multiplies with in the absorbed form (worker/model/layers/mla.h).
std::int64_t LatentAttentionWeights(const worker::model::ModelConfig& config) {
  const worker::model::MlaConfig& mla = *config.mla;
  const std::int64_t queries = config.num_heads * mla.qk_head_dim();
  const std::int64_t of_queries = mla.q_lora_rank == 0
                                      ? config.hidden_size * queries
                                      : mla.q_lora_rank * (config.hidden_size + queries);
  return of_queries + config.hidden_size * mla.key_dim() +
         config.num_heads * (mla.kv_lora_rank * (mla.qk_nope_head_dim + mla.v_head_dim) +
                             mla.v_head_dim * config.hidden_size);
}

// Of all layers' feed-forwards, with `experts` of the routed ones.
double FfnWeights(const worker::model::ModelConfig& config, double experts) {
  const auto dense = static_cast<double>(3 * config.hidden_size * config.intermediate_size);
  const auto layers = static_cast<double>(config.num_layers);
  if (!config.moe) return layers * dense;
  const worker::model::MoeConfig& moe = *config.moe;
  const double dense_layers = std::min(layers, static_cast<double>(moe.first_k_dense_replace));
  const auto one = static_cast<double>(3 * config.hidden_size * moe.moe_intermediate_size);
  const auto router = static_cast<double>(config.hidden_size * moe.n_routed_experts);
  return dense_layers * dense +
         (layers - dense_layers) *
             (router + one * (experts + static_cast<double>(moe.n_shared_experts)));
}

// Experts that so many tokens choose on average, if each chooses by chance.
double ExpertsOf(const worker::model::ModelConfig& config, std::int32_t tokens) {
  if (!config.moe) return 0;
  const auto all = static_cast<double>(config.moe->n_routed_experts);
  const auto one = static_cast<double>(config.moe->num_experts_per_tok);
  return all * (1 - std::pow(1 - one / all, tokens));
}

}  // namespace

ModelCosts::ModelCosts(const worker::model::ModelConfig& config,
                       const worker::model::ModelInfo& info, std::int32_t ranks) {
  kv_bytes_per_token_ = KvBytesPerToken(config, ranks, BytesOf(info.kv_cache_dtype));
  weight_bytes_per_step_ = info.weight_bytes_per_token;
  config_ = config;
  const std::int64_t attention_weights =
      config.mla ? LatentAttentionWeights(config)
                 : config.hidden_size * (2 * config.q_size() + 2 * config.kv_size());
  linear_weights_ = config.num_layers * attention_weights +
                    static_cast<std::int64_t>(FfnWeights(config, ExpertsOf(config, 1)));
  head_weights_ = config.hidden_size * config.vocab_size;
  // Of latents a score is over a whole key, a result over its latent.
  attention_width_ =
      config.num_layers *
      (config.mla ? config.num_heads * (config.mla->key_dim() + config.mla->kv_lora_rank) / 2
                  : config.q_size());
}

double ModelCosts::DecodeStepBytes(std::int32_t sequences, double context) const {
  const double more_weights = FfnWeights(config_, ExpertsOf(config_, sequences)) -
                              FfnWeights(config_, ExpertsOf(config_, 1));
  // The layers' weights are read in about as many bytes each.
  const double bytes_of_one = static_cast<double>(weight_bytes_per_step_ - 2 * head_weights_) /
                              static_cast<double>(linear_weights_);
  return static_cast<double>(weight_bytes_per_step_) + more_weights * bytes_of_one +
         sequences * context * static_cast<double>(kv_bytes_per_token_);
}

double ModelCosts::PrefillFlops(std::int64_t tokens) const {
  const auto t = static_cast<double>(tokens);
  const double query_key_pairs = t * (t + 1) / 2;
  return 2 * t * static_cast<double>(linear_weights_) + 2 * static_cast<double>(head_weights_) +
         4 * query_key_pairs * static_cast<double>(attention_width_);
}

}  // namespace thinkwire::bench
