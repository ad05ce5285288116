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

}  // namespace

std::string DistillConfig(std::string_view name) {
  for (const DistillShape& shape : kShapes) {
    if (name == shape.name) return ConfigOf(shape).dump(2);
  }
  return "";
}

std::vector<std::string> DistillNames() {
  std::vector<std::string> names;
  for (const DistillShape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

}  // namespace thinkwire::bench
