#include "tests/bench/distill_shapes.h"

#include <variant>

#include "nlohmann/json.hpp"
#include "worker/model/family_fit.h"

namespace thinkwire::bench {
namespace {

using worker::model::FamilyMember;
using worker::model::Llama3RopeScaling;
using worker::model::ModelConfig;

// The text of a config.json that is read to be `model`.
nlohmann::json JsonOf(const ModelConfig& model) {
  nlohmann::json config = {{"architectures", {model.architecture}},
                           {"eos_token_id", model.end_of_sequence_ids},
                           {"head_dim", model.head_dim},
                           {"hidden_act", "silu"},
                           {"hidden_size", model.hidden_size},
                           {"intermediate_size", model.intermediate_size},
                           {"max_position_embeddings", model.max_position_embeddings},
                           {"model_type", model.qkv_bias ? "qwen2" : "llama"},
                           {"num_attention_heads", model.num_heads},
                           {"num_hidden_layers", model.num_layers},
                           {"num_key_value_heads", model.num_kv_heads},
                           {"rms_norm_eps", model.rms_norm_eps},
                           {"rope_theta", model.rope.theta},
                           {"tie_word_embeddings", model.tie_word_embeddings},
                           {"vocab_size", model.vocab_size}};
  if (const auto* stretch = std::get_if<Llama3RopeScaling>(&model.rope.scaling)) {
    config["rope_scaling"] = {
        {"rope_type", "llama3"},
        {"factor", stretch->factor},
        {"low_freq_factor", stretch->low_freq_factor},
        {"high_freq_factor", stretch->high_freq_factor},
        {"original_max_position_embeddings", stretch->original_max_position_embeddings}};
  }
  return config;
}

}  // namespace

std::string DistillConfig(std::string_view name) {
  for (const FamilyMember& member : worker::model::Distills()) {
    if (name == member.variant) return JsonOf(member.config).dump(2);
  }
  return "";
}

std::vector<std::string> DistillNames() {
  std::vector<std::string> names;
  for (const FamilyMember& member : worker::model::Distills()) names.push_back(member.variant);
  return names;
}

}  // namespace thinkwire::bench
