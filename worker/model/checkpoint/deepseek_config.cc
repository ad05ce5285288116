#include "worker/model/checkpoint/deepseek_config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/status.h"

namespace thinkwire::worker::model {
namespace {

// Of all layers together (15,616): each is a few tensors to name and to look for.
constexpr std::int64_t kMostExperts = 1 << 16;

// Leaves `value` where the key is absent.
absl::Status OptionalText(const ConfigReader& reader, const char* key, std::string& value) {
  const nlohmann::json* found = reader.Find(key);
  if (found == nullptr) return absl::OkStatus();
  if (!found->is_string()) return reader.Refuse(key, value);
  value = found->get<std::string>();
  return absl::OkStatus();
}

absl::Status ReadMoe(const ConfigReader& reader, ModelConfig& config) {
  MoeConfig moe;
  struct Size {
    const char* key;
    std::int64_t& value;
  };
  const Size sizes[] = {{"n_routed_experts", moe.n_routed_experts},
                        {"num_experts_per_tok", moe.num_experts_per_tok},
                        {"n_group", moe.n_group},
                        {"topk_group", moe.topk_group},
                        {"n_shared_experts", moe.n_shared_experts},
                        {"moe_intermediate_size", moe.moe_intermediate_size},
                        {"first_k_dense_replace", moe.first_k_dense_replace}};
  for (const Size& size : sizes) {
    RETURN_IF_ERROR(reader.Integer(size.key, 0, kMaxIntermediateSize, size.value));
  }
  RETURN_IF_ERROR(reader.Number("routed_scaling_factor", 0, 1e6, moe.routed_scaling_factor));
  RETURN_IF_ERROR(reader.OptionalBool("norm_topk_prob", moe.norm_topk_prob));
  RETURN_IF_ERROR(OptionalText(reader, "scoring_func", moe.scoring_func));
  RETURN_IF_ERROR(OptionalText(reader, "topk_method", moe.topk_method));
  RETURN_IF_ERROR(reader.OnlyNumber("moe_layer_freq", 1));
  RETURN_IF_ERROR(CheckMoeConfig(moe, config.num_layers, reader.name()));
  if (moe.n_routed_experts * config.num_layers > kMostExperts) {
    return reader.Refuse("n_routed_experts", absl::StrCat("at most ", kMostExperts, " in all ",
                                                          config.num_layers, " layers together"));
  }
  config.moe = moe;
  return absl::OkStatus();
}

absl::Status ReadMla(const ConfigReader& reader, ModelConfig& config) {
  MlaConfig mla;
  if (reader.Has("q_lora_rank")) {
    RETURN_IF_ERROR(reader.Integer("q_lora_rank", 1, kMaxHiddenSize, mla.q_lora_rank));
  }
  RETURN_IF_ERROR(reader.Integer("kv_lora_rank", 1, kMaxHiddenSize, mla.kv_lora_rank));
  RETURN_IF_ERROR(reader.Integer("qk_nope_head_dim", 1, kMaxHeadDim, mla.qk_nope_head_dim));
  RETURN_IF_ERROR(reader.Integer("qk_rope_head_dim", 2, kMaxHeadDim, mla.qk_rope_head_dim));
  RETURN_IF_ERROR(reader.Integer("v_head_dim", 1, kMaxHeadDim, mla.v_head_dim));
  RETURN_IF_ERROR(reader.OptionalBool("rope_interleave", mla.rope_interleave));
  if (mla.qk_rope_head_dim % 2 != 0) return reader.Refuse("qk_rope_head_dim", "an even number");
  if (reader.Has("num_key_value_heads")) {
    RETURN_IF_ERROR(
        reader.OnlyNumber("num_key_value_heads", static_cast<double>(config.num_heads)));
  }
  const auto width = static_cast<double>(mla.qk_head_dim());
  mla.score_scale = static_cast<float>(ScoreFactor(config.rope) / std::sqrt(width));
  config.mla = mla;
  config.num_kv_heads = config.num_heads;
  config.head_dim = mla.qk_rope_head_dim;
  return absl::OkStatus();
}

// transformers lets mscale_all_dim temper the scores of any scaling; what that means of another
// than yarn no published file says.
absl::Status CheckScaling(const ConfigReader& reader, const RopeConfig& rope) {
  if (std::holds_alternative<std::monostate>(rope.scaling) ||
      std::holds_alternative<YarnRopeScaling>(rope.scaling)) {
    return absl::OkStatus();
  }
  return reader.Refuse(reader.Has("rope_scaling") ? "rope_scaling" : "rope_parameters",
                       "rope_type default or yarn in a deepseek_v3");
}

}  // namespace

absl::Status ReadDeepseek(const ConfigReader& reader, ModelConfig& config) {
  RETURN_IF_ERROR(CheckScaling(reader, config.rope));
  RETURN_IF_ERROR(ReadMla(reader, config));
  RETURN_IF_ERROR(ReadMoe(reader, config));
  return reader.OptionalInteger("num_nextn_predict_layers", 0, kMaxLayers, config.num_mtp_layers);
}

}  // namespace thinkwire::worker::model
