#include "worker/model/checkpoint/gguf_deepseek.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/status.h"

namespace thinkwire::worker::model {
namespace {

constexpr double kSigmoid = 2;  // of expert_gating_func
constexpr double kMostFactor = 1e6;

// What a head has of keys or of values.
absl::Status ReadWidth(const GgufKeys& keys, const char* key, std::int64_t& width) {
  const std::string of_mla = absl::StrCat(key, "_mla");
  return keys.Size(keys.Has(of_mla) ? of_mla : key, 2 * kMaxHeadDim, width);
}

absl::Status ReadMla(const GgufKeys& keys, ModelConfig& config) {
  MlaConfig mla;
  std::int64_t key_width = 0;
  RETURN_IF_ERROR(keys.OptionalSize("attention.q_lora_rank", kMaxHiddenSize, mla.q_lora_rank, 0));
  RETURN_IF_ERROR(keys.Size("attention.kv_lora_rank", kMaxHiddenSize, mla.kv_lora_rank));
  RETURN_IF_ERROR(ReadWidth(keys, "attention.key_length", key_width));
  RETURN_IF_ERROR(ReadWidth(keys, "attention.value_length", mla.v_head_dim));
  RETURN_IF_ERROR(keys.Size("rope.dimension_count", kMaxHeadDim, mla.qk_rope_head_dim, 2));
  mla.qk_nope_head_dim = key_width - mla.qk_rope_head_dim;
  if (mla.qk_rope_head_dim % 2 != 0 || mla.qk_nope_head_dim < 1 ||
      mla.qk_nope_head_dim > kMaxHeadDim) {
    return keys.Refuse("rope.dimension_count",
                       absl::StrCat("an even number below the keys' width ", key_width));
  }
  if (mla.v_head_dim > kMaxHeadDim) {
    return keys.Refuse("attention.value_length", absl::StrCat("at most ", kMaxHeadDim));
  }
  const auto width = static_cast<double>(mla.qk_head_dim());
  mla.score_scale = static_cast<float>(ScoreFactor(config.rope) / std::sqrt(width));
  config.mla = mla;
  config.num_kv_heads = config.num_heads;
  config.head_dim = mla.qk_rope_head_dim;
  return absl::OkStatus();
}

// Files older than llama.cpp's groups of experts do not say which there are.
absl::Status ReadGroups(const GgufKeys& keys, ModelConfig& config, MoeConfig& moe) {
  constexpr char kCount[] = "expert_group_count";
  if (!keys.Has(kCount)) {
    config.warnings.push_back(absl::StrCat(keys.reader().name(), ": ", keys.Of(kCount),
                                           " is missing: experts are chosen among all"));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(keys.Size(kCount, kMaxIntermediateSize, moe.n_group));
  return keys.Size("expert_group_used_count", kMaxIntermediateSize, moe.topk_group);
}

absl::Status ReadMoe(const GgufKeys& keys, ModelConfig& config) {
  MoeConfig moe;
  struct Size {
    const char* key;
    std::int64_t& value;
  };
  const Size sizes[] = {{"expert_count", moe.n_routed_experts},
                        {"expert_used_count", moe.num_experts_per_tok},
                        {"expert_feed_forward_length", moe.moe_intermediate_size}};
  for (const Size& size : sizes) {
    RETURN_IF_ERROR(keys.Size(size.key, kMaxIntermediateSize, size.value));
  }
  const Size optional[] = {{"expert_shared_count", moe.n_shared_experts},
                           {"leading_dense_block_count", moe.first_k_dense_replace}};
  for (const Size& size : optional) {
    RETURN_IF_ERROR(keys.OptionalSize(size.key, kMaxIntermediateSize, size.value, 0));
  }
  RETURN_IF_ERROR(ReadGroups(keys, config, moe));
  const ConfigReader& reader = keys.reader();
  moe.norm_topk_prob = false;  // as llama.cpp has it where the key is unset
  RETURN_IF_ERROR(reader.OptionalBool(keys.Of("expert_weights_norm"), moe.norm_topk_prob));
  RETURN_IF_ERROR(reader.OptionalNumber(keys.Of("expert_weights_scale"), 0, kMostFactor,
                                        moe.routed_scaling_factor));
  double gating = 0;
  RETURN_IF_ERROR(reader.OptionalNumber(keys.Of("expert_gating_func"), 0, kMostFactor, gating));
  if (gating != kSigmoid) return keys.Refuse("expert_gating_func", "2, the sigmoid");
  RETURN_IF_ERROR(CheckMoeConfig(moe, config.num_layers, reader.name()));
  config.moe = moe;
  return absl::OkStatus();
}

// llama.cpp takes mscale and mscale_all_dim for one number, a tenth of which it writes.
absl::Status ReadTemperature(const GgufKeys& keys, ModelConfig& config) {
  auto* const yarn = std::get_if<YarnRopeScaling>(&config.rope.scaling);
  if (yarn == nullptr) return absl::OkStatus();
  double tenth = 0;
  RETURN_IF_ERROR(keys.reader().OptionalNumber(keys.Of("rope.scaling.yarn_log_multiplier"), 0,
                                               kMostFactor, tenth));
  if (tenth == 0) return absl::OkStatus();
  yarn->mscale_all_dim = static_cast<float>(10 * tenth);  // of an f32
  yarn->attention_factor = 1;
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadGgufDeepseek(const GgufKeys& keys, ModelConfig& config) {
  std::int64_t further = 0;
  RETURN_IF_ERROR(keys.OptionalSize("nextn_predict_layers", config.num_layers - 1, further, 0));
  config.num_layers -= further;
  config.num_mtp_layers = further;
  if (!std::holds_alternative<std::monostate>(config.rope.scaling) &&
      !std::holds_alternative<YarnRopeScaling>(config.rope.scaling)) {
    return keys.Refuse("rope.scaling.type", "none or yarn in a deepseek2, without rope_freqs");
  }
  RETURN_IF_ERROR(ReadTemperature(keys, config));
  RETURN_IF_ERROR(ReadMla(keys, config));
  return ReadMoe(keys, config);
}

}  // namespace thinkwire::worker::model
