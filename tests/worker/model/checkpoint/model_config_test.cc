#include "worker/model/checkpoint/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "tests/worker/model/model_files.h"
#include "worker/model/checkpoint/model_plan.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The distill of 1.5B as its repository has it.
json QwenConfig() {
  return json::parse(R"({
    "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643,
    "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 1536, "initializer_range": 0.02,
    "intermediate_size": 8960, "max_position_embeddings": 131072, "max_window_layers": 21,
    "model_type": "qwen2", "num_attention_heads": 12, "num_hidden_layers": 28,
    "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 10000, "sliding_window": 4096,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true, "use_mrope": false,
    "use_sliding_window": false, "vocab_size": 151936})");
}

json LlamaConfig() {
  return json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "attention_bias": false, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009], "head_dim": 128, "hidden_act": "silu",
    "hidden_size": 8192, "intermediate_size": 28672, "max_position_embeddings": 131072,
    "mlp_bias": false, "model_type": "llama", "num_attention_heads": 64, "num_hidden_layers": 80,
    "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
      "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "rope_theta": 500000.0, "tie_word_embeddings": false, "vocab_size": 128256})");
}

absl::StatusOr<ModelConfig> Parse(const json& config, const json& generation = nullptr) {
  const TempDir dir;
  WriteFile(dir.path() / "config.json", config.dump());
  if (!generation.is_null()) {
    WriteFile(dir.path() / "generation_config.json", generation.dump());
  }
  return LoadModelConfig(dir.path());
}

// The message that refuses `config` with one key changed; erased where the value is discarded.
std::string Refusal(json config, const std::string& key, const json& value) {
  config[key] = value;
  const auto parsed = Parse(config);
  return parsed.ok() ? "accepted" : std::string(parsed.status().message());
}

TEST(ModelConfigTest, ReadsQwenDistill) {
  const auto config = Parse(QwenConfig(), {{"eos_token_id", 151643},
                                           {"bos_token_id", 151646},
                                           {"do_sample", true},
                                           {"temperature", 0.7},
                                           {"top_p", 0.9}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 1536);
  EXPECT_EQ(config->num_layers, 28);
  EXPECT_EQ(config->num_heads, 12);
  EXPECT_EQ(config->num_kv_heads, 2);
  EXPECT_EQ(config->head_dim, 128);
  EXPECT_EQ(config->intermediate_size, 8960);
  EXPECT_EQ(config->vocab_size, 151936);
  EXPECT_EQ(config->max_position_embeddings, 131072);
  EXPECT_FLOAT_EQ(config->rms_norm_eps, 1e-6F);
  EXPECT_EQ(config->rope.theta, 10000);
  EXPECT_THAT(config->warnings, IsEmpty());
  EXPECT_TRUE(config->qkv_bias);
  EXPECT_FALSE(config->tie_word_embeddings);
  EXPECT_TRUE(std::holds_alternative<std::monostate>(config->rope.scaling));
  EXPECT_THAT(config->end_of_sequence_ids, ElementsAre(151643));
  EXPECT_EQ(CountParameters(MakePlan(*config)), 1'777'088'000);
}

TEST(ModelConfigTest, ReadsLlamaDistill) {
  const auto config = Parse(LlamaConfig(), {{"eos_token_id", 128001}});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_EQ(config->rope.theta, 500000);
  EXPECT_TRUE(std::holds_alternative<Llama3RopeScaling>(config->rope.scaling));
  EXPECT_THAT(config->end_of_sequence_ids, ElementsAre(128001));
  EXPECT_EQ(CountParameters(MakePlan(*config)), 70'553'706'496);
}

TEST(ModelConfigTest, EndIdsOfTheGenerationConfigAreObeyed) {
  const auto more = Parse(QwenConfig(), {{"eos_token_id", {151645, 151643}}});
  ASSERT_TRUE(more.ok()) << more.status();
  EXPECT_THAT(more->end_of_sequence_ids, ElementsAre(151643, 151645));
  EXPECT_THAT(more->warnings, IsEmpty());

  const auto fewer = Parse(LlamaConfig(), {{"eos_token_id", 128001}});
  ASSERT_TRUE(fewer.ok()) << fewer.status();
  EXPECT_THAT(fewer->end_of_sequence_ids, ElementsAre(128001));
  EXPECT_THAT(fewer->warnings,
              ElementsAre(AllOf(HasSubstr("generation_config.json: eos_token_id 128001 is obeyed"),
                                HasSubstr("[128008,128009]"))));

  const auto none = Parse(LlamaConfig(), {{"temperature", 0.6}});
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(none->end_of_sequence_ids, ElementsAre(128001, 128008, 128009));
}

// What `config` says with one key changed.
absl::StatusOr<ModelConfig> With(json config, const std::string& key, const json& value) {
  config[key] = value;
  return Parse(config);
}

json Without(json config, const std::string& key) {
  config.erase(key);
  return config;
}

TEST(ModelConfigTest, KeysThatItsModelNeverReadsArePassedOver) {
  for (const json& value : {json(false), json(true), json(nullptr)}) {
    EXPECT_TRUE(With(QwenConfig(), "attention_bias", value).ok()) << value;
    EXPECT_TRUE(With(QwenConfig(), "mlp_bias", value).ok()) << value;
    EXPECT_TRUE(With(LlamaConfig(), "use_sliding_window", value).ok()) << value;
  }
  EXPECT_TRUE(With(QwenConfig(), "hidden_act", "swish").ok()) << "another name of silu";
}

TEST(ModelConfigTest, WhatIsMissingIsWhatTransformersTakes) {
  const auto config = Parse(Without(QwenConfig(), "rms_norm_eps"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_FLOAT_EQ(config->rms_norm_eps, 1e-6F);
  const auto unnamed = Parse(Without(QwenConfig(), "architectures"));
  ASSERT_TRUE(unnamed.ok()) << unnamed.status();
  EXPECT_EQ(unnamed->architecture, "Qwen2ForCausalLM");
  EXPECT_TRUE(With(LlamaConfig(), "architectures", json::array()).ok());
  EXPECT_TRUE(Parse(Without(LlamaConfig(), "model_type")).ok());
  EXPECT_THAT(Refusal(Without(QwenConfig(), "architectures"), "model_type", nullptr),
              HasSubstr("model_type is missing"));
}

TEST(ModelConfigTest, ModelTypeIsObeyedBeforeArchitectures) {
  const auto config = With(QwenConfig(), "architectures", {"LlamaForCausalLM"});
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "Qwen2ForCausalLM");
  EXPECT_THAT(config->warnings, ElementsAre(HasSubstr("model_type \"qwen2\" is obeyed")));
  EXPECT_TRUE(With(QwenConfig(), "architectures", {"Qwen2Model", "Qwen2ForCausalLM"}).ok());
  EXPECT_THAT(Refusal(QwenConfig(), "model_type", "qwen3"), HasSubstr("model_type is \"qwen3\""));
}

TEST(ModelConfigTest, AWindowThatSlidesNowhereIsNoReasonToRefuse) {
  json sliding = QwenConfig();
  sliding["use_sliding_window"] = true;  // from layer 21 on, 4096 wide
  EXPECT_THAT(Refusal(sliding, "max_window_layers", 27), HasSubstr("use_sliding_window is true"));
  EXPECT_TRUE(With(sliding, "max_window_layers", 28).ok());
  EXPECT_TRUE(With(sliding, "sliding_window", nullptr).ok());
  EXPECT_TRUE(With(sliding, "sliding_window", 131072).ok());
  EXPECT_THAT(Refusal(sliding, "sliding_window", 131071), HasSubstr("131072 and more"));
  EXPECT_TRUE(With(sliding, "layer_types", std::vector<std::string>(28, "full_attention")).ok());
  EXPECT_THAT(Refusal(sliding, "layer_types", {"full_attention", "sliding_attention"}),
              HasSubstr("use_sliding_window is true"));
}

TEST(ModelConfigTest, RefusesWhatItCannotComputeByKeyAndValue) {
  const json qwen = QwenConfig();
  const json llama = LlamaConfig();
  EXPECT_THAT(Refusal(qwen, "architectures", {"Qwen3ForCausalLM"}),
              AllOf(HasSubstr("config.json: architectures is [\"Qwen3ForCausalLM\"]"),
                    HasSubstr("Qwen2ForCausalLM, LlamaForCausalLM or DeepseekV3ForCausalLM")));
  EXPECT_THAT(Refusal(qwen, "architectures", 7), HasSubstr("architectures is 7"));
  EXPECT_THAT(Refusal(qwen, "use_sliding_window", true), HasSubstr("use_sliding_window is true"));
  EXPECT_THAT(Refusal(qwen, "hidden_act", "gelu"), HasSubstr("hidden_act is \"gelu\""));
  EXPECT_THAT(Refusal(qwen, "layer_types", {"full_attention", "sliding_attention"}),
              HasSubstr("layer_types"));
  EXPECT_THAT(Refusal(qwen, "quantization_config", {{"quant_method", "quanto"}}),
              AllOf(HasSubstr("quantization_config"), HasSubstr("quanto")));
  EXPECT_THAT(Refusal(llama, "attention_bias", true), HasSubstr("attention_bias is true"));
  EXPECT_THAT(Refusal(llama, "mlp_bias", true), HasSubstr("mlp_bias is true"));
  EXPECT_THAT(Refusal(llama, "partial_rotary_factor", 0.5), HasSubstr("partial_rotary_factor"));
}

TEST(ModelConfigTest, RefusesSizesOutOfRange) {
  const json qwen = QwenConfig();
  for (const char* key : {"hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
                          "intermediate_size", "max_position_embeddings"}) {
    const json bad_values = {0, -1, 1.5, "8", 9223372036854775807, 18446744073709551615U, nullptr};
    for (const json& value : bad_values) {
      EXPECT_THAT(Refusal(qwen, key, value), HasSubstr(key)) << value;
    }
  }
  EXPECT_THAT(Refusal(qwen, "num_key_value_heads", 5), HasSubstr("divisor"));
  EXPECT_THAT(Refusal(qwen, "hidden_size", 1537), HasSubstr("multiple of num_attention_heads 12"));
  EXPECT_THAT(Refusal(qwen, "head_dim", 127), HasSubstr("even"));
  EXPECT_THAT(Refusal(qwen, "rms_norm_eps", 0), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(Refusal(qwen, "rope_theta", -1), HasSubstr("rope_theta"));
  EXPECT_THAT(Refusal(qwen, "eos_token_id", 151936), HasSubstr("vocab_size 151936"));
  EXPECT_THAT(Refusal(qwen, "eos_token_id", -1), HasSubstr("eos_token_id"));
}

TEST(ModelConfigTest, RefusesBrokenFiles) {
  const auto message = [](const std::string& text) {
    const TempDir dir;
    WriteFile(dir.path() / "config.json", text);
    return std::string(LoadModelConfig(dir.path()).status().message());
  };
  EXPECT_THAT(message("{"), HasSubstr("config.json: not valid JSON"));
  EXPECT_THAT(message(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(message("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(message(R"({"a": 1, "a": 2})"), HasSubstr("key \"a\" appears twice"));
  EXPECT_THAT(message(std::string(1000, '[') + std::string(1000, ']')), HasSubstr("deeper"));
  EXPECT_THAT(message(std::string(2 << 20, ' ')), HasSubstr("at most"));
  const TempDir empty;
  EXPECT_EQ(LoadModelConfig(empty.path()).status().code(), absl::StatusCode::kNotFound);
}

TEST(ModelConfigTest, RefusesBrokenGenerationConfig) {
  const auto message = [](const json& generation) {
    return std::string(Parse(QwenConfig(), generation).status().message());
  };
  EXPECT_THAT(message({{"eos_token_id", "</s>"}}),
              HasSubstr("generation_config.json: eos_token_id"));
  EXPECT_THAT(message(json::array()), HasSubstr("not a JSON object"));
}

}  // namespace
}  // namespace thinkwire::worker::model
