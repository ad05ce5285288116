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

// deepseek-ai/DeepSeek-R1's config.json: no distill, but the one that they were distilled from.
nlohmann::json TeacherConfig() {
  return {{"architectures", {"DeepseekV3ForCausalLM"}},
          {"eos_token_id", 1},
          {"first_k_dense_replace", 3},
          {"hidden_act", "silu"},
          {"hidden_size", 7168},
          {"intermediate_size", 18432},
          {"kv_lora_rank", 512},
          {"max_position_embeddings", 163840},
          {"model_type", "deepseek_v3"},
          {"moe_intermediate_size", 2048},
          {"n_group", 8},
          {"n_routed_experts", 256},
          {"n_shared_experts", 1},
          {"norm_topk_prob", true},
          {"num_attention_heads", 128},
          {"num_experts_per_tok", 8},
          {"num_hidden_layers", 61},
          {"num_key_value_heads", 128},
          {"q_lora_rank", 1536},
          {"qk_nope_head_dim", 128},
          {"qk_rope_head_dim", 64},
          {"rms_norm_eps", 1e-6},
          {"rope_scaling",
           {{"type", "yarn"},
            {"factor", 40},
            {"original_max_position_embeddings", 4096},
            {"beta_fast", 32},
            {"beta_slow", 1},
            {"mscale", 1.0},
            {"mscale_all_dim", 1.0}}},
          {"rope_theta", 10000},
          {"routed_scaling_factor", 2.5},
          {"scoring_func", "sigmoid"},
          {"tie_word_embeddings", false},
          {"topk_group", 4},
          {"topk_method", "noaux_tc"},
          {"v_head_dim", 128},
          {"vocab_size", 129280}};
}

constexpr char kTeacher[] = "r1-671b";

}  // namespace

std::string DistillConfig(std::string_view name) {
  if (name == kTeacher) return TeacherConfig().dump(2);
  for (const FamilyMember& member : worker::model::Distills()) {
    if (name == member.variant) return JsonOf(member.config).dump(2);
  }
  return "";
}

std::vector<std::string> DistillNames() {
  std::vector<std::string> names;
  for (const FamilyMember& member : worker::model::Distills()) names.push_back(member.variant);
  names.emplace_back(kTeacher);
  return names;
}

}  // namespace thinkwire::bench
