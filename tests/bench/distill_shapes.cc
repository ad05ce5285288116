#include "tests/bench/distill_shapes.h"

#include <cstdint>

#include "nlohmann/json.hpp"

namespace thinkwire::bench {
namespace {

struct DistillShape {
  const char* name;
  bool llama;  // else Qwen2
  std::int64_t hidden_size;
  std::int64_t num_layers;
  std::int64_t num_heads;
  std::int64_t num_kv_heads;
  std::int64_t intermediate_size;
  std::int64_t vocab_size;
  double rms_norm_eps;
  double rope_theta;
};

// From the config.json files of deepseek-ai/DeepSeek-R1-Distill-*. Head size 128 in all.
constexpr DistillShape kShapes[] = {
    {"qwen-1.5b", false, 1536, 28, 12, 2, 8960, 151936, 1e-6, 10000},
    {"qwen-7b", false, 3584, 28, 28, 4, 18944, 152064, 1e-6, 10000},
    {"qwen-14b", false, 5120, 48, 40, 8, 13824, 152064, 1e-5, 1000000},
    {"qwen-32b", false, 5120, 64, 40, 8, 27648, 152064, 1e-5, 1000000},
    {"llama-8b", true, 4096, 32, 32, 8, 14336, 128256, 1e-5, 500000},
    {"llama-70b", true, 8192, 80, 64, 8, 28672, 128256, 1e-5, 500000},
};

nlohmann::json ConfigOf(const DistillShape& shape) {
  nlohmann::json config = {
      {"architectures", {shape.llama ? "LlamaForCausalLM" : "Qwen2ForCausalLM"}},
      {"eos_token_id", shape.llama ? 128001 : 151643},
      {"head_dim", 128},
      {"hidden_act", "silu"},
      {"hidden_size", shape.hidden_size},
      {"intermediate_size", shape.intermediate_size},
      {"max_position_embeddings", 131072},
      {"model_type", shape.llama ? "llama" : "qwen2"},
      {"num_attention_heads", shape.num_heads},
      {"num_hidden_layers", shape.num_layers},
      {"num_key_value_heads", shape.num_kv_heads},
      {"rms_norm_eps", shape.rms_norm_eps},
      {"rope_theta", shape.rope_theta},
      {"tie_word_embeddings", false},
      {"vocab_size", shape.vocab_size}};
  if (shape.llama) {
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", 8.0},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}};
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
  for (const DistillShape& shape : kShapes) {
    if (name == shape.name) return ConfigOf(shape).dump(2);
  }
  return "";
}

std::vector<std::string> DistillNames() {
  std::vector<std::string> names;
  for (const DistillShape& shape : kShapes) names.emplace_back(shape.name);
  names.emplace_back(kTeacher);
  return names;
}

}  // namespace thinkwire::bench
