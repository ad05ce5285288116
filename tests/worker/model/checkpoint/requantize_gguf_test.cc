#include "worker/model/checkpoint/requantize_gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/gguf_file.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "tests/worker/model/wide_model.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

// The matrices and their loss, as our own reader finds them.
RequantizedLoss Compare(const fs::path& from, const fs::path& to) {
  const PlannedFiles before = OpenPlanned(from);
  const PlannedFiles after = OpenPlanned(to);
  RequantizedLoss loss;
  double error = 0;
  double magnitude = 0;
  for (const TensorSpec& spec : RequiredTensors(after.plan)) {
    const std::vector<float> was = FloatsOf(*before.weights, spec);
    const std::vector<float> is = FloatsOf(*after.weights, spec);
    if (spec.is_vector) {
      EXPECT_EQ(was, is) << spec.name;
      continue;
    }
    ++loss.matrices;
    for (std::size_t i = 0; i < was.size(); ++i) {
      error += std::fabs(static_cast<double>(was[i]) - is[i]);
      magnitude += std::fabs(static_cast<double>(was[i]));
    }
  }
  loss.mean_relative_error = error / magnitude;
  return loss;
}

std::map<std::string, std::string> TypesOf(const fs::path& file) {
  const GgufFile opened = GgufFile::Open(file).value();
  std::map<std::string, std::string> types;
  for (const GgufTensor& tensor : opened.content().tensors) {
    types[tensor.name] = std::string(tensor.type->name);
  }
  return types;
}

class RequantizeGgufTest : public testing::Test {
 protected:
  RequantizeGgufTest() { fs::create_directory(in()); }

  fs::path in() const { return dir_.path() / "in"; }
  fs::path out() const { return dir_.path() / "out.gguf"; }

  // As the tokenizer's end, which is one of a model's own.
  absl::StatusOr<RequantizedLoss> Write(GgufFileType type) const {
    GgufHeader header;
    header.U32("tokenizer.ggml.eos_token_id", 95);
    return RequantizeToGguf(in(), out(), type, std::move(header));
  }
  void ChangeConfig(const std::function<void(json&)>& change) const {
    json config = json::parse(ReadFile(in() / "config.json"));
    change(config);
    WriteFile(in() / "config.json", config.dump());
  }

  const TempDir dir_;
};

TEST_F(RequantizeGgufTest, Q4KMReadsBackAsTold) {
  WriteWideModel(in(), 256, 512);
  const auto loss = Write(GgufFileType::kQ4_K_M);
  ASSERT_TRUE(loss.ok()) << loss.status();
  const RequantizedLoss compared = Compare(in(), out());
  EXPECT_EQ(loss->matrices, 16);
  EXPECT_EQ(compared.matrices, 16);
  EXPECT_NEAR(compared.mean_relative_error, loss->mean_relative_error, 1e-6);
  EXPECT_GT(loss->mean_relative_error, 0.02);
  EXPECT_LT(loss->mean_relative_error, 0.07);
  const auto types = TypesOf(out());
  EXPECT_EQ(types.at("output.weight"), "Q6_K");
  EXPECT_EQ(types.at("token_embd.weight"), "Q4_K");
  EXPECT_EQ(types.at("blk.0.attn_q.weight"), "Q4_K");
  EXPECT_EQ(types.at("blk.0.attn_output.weight"), "Q8_0") << "of 128 columns";
  EXPECT_EQ(types.at("blk.0.ffn_down.weight"), "Q4_K");
  EXPECT_EQ(types.at("blk.1.ffn_down.weight"), "Q6_K");
  EXPECT_EQ(types.at("blk.1.attn_v.weight"), "Q6_K");
  EXPECT_EQ(types.at("output_norm.weight"), "F32");
  EXPECT_FALSE(fs::exists(dir_.path() / "out.gguf.partial"));
}

TEST_F(RequantizeGgufTest, Q8ReadsBackAsTold) {
  WriteWideModel(in(), 256, 512);
  const auto loss = Write(GgufFileType::kQ8_0);
  ASSERT_TRUE(loss.ok()) << loss.status();
  EXPECT_NEAR(Compare(in(), out()).mean_relative_error, loss->mean_relative_error, 1e-6);
  EXPECT_LT(loss->mean_relative_error, 0.006);
  const auto types = TypesOf(out());
  EXPECT_EQ(types.at("token_embd.weight"), "Q8_0");
  EXPECT_EQ(types.at("blk.1.ffn_down.weight"), "Q8_0");
}

TEST_F(RequantizeGgufTest, TheFileSaysWhatTheFolderSays) {
  CopyModel("llama", in());
  ASSERT_TRUE(Write(GgufFileType::kQ8_0).ok());
  const ModelConfig was = OpenModelFiles(in())->Config().value();
  const ModelConfig is = OpenModelFiles(out())->Config().value();
  EXPECT_EQ(is.architecture, was.architecture);
  EXPECT_EQ(is.hidden_size, was.hidden_size);
  EXPECT_EQ(is.num_layers, was.num_layers);
  EXPECT_EQ(is.num_heads, was.num_heads);
  EXPECT_EQ(is.num_kv_heads, was.num_kv_heads);
  EXPECT_EQ(is.head_dim, was.head_dim);
  EXPECT_EQ(is.intermediate_size, was.intermediate_size);
  EXPECT_EQ(is.vocab_size, was.vocab_size);
  EXPECT_EQ(is.max_position_embeddings, was.max_position_embeddings);
  EXPECT_EQ(is.rms_norm_eps, was.rms_norm_eps);
  EXPECT_EQ(is.rope.theta, was.rope.theta);
  EXPECT_EQ(is.tie_word_embeddings, was.tie_word_embeddings);
  const GgufFile file = GgufFile::Open(out()).value();
  EXPECT_EQ(std::get<std::uint64_t>(*file.content().Find("general.file_type")), 7U);
  EXPECT_EQ(std::get<std::uint64_t>(*file.content().Find("general.quantization_version")), 2U);
}

// The rope's stretch and the order of rows are what differs most between folder and file.
TEST_F(RequantizeGgufTest, AFileOfQ8DrawsTheTokensOfTheFolder) {
  CopyModel("llama", in());
  ASSERT_TRUE(Write(GgufFileType::kQ8_0).ok());
  const Expected expected = ReadExpected("llama");
  ModelOptions options = OptionsFor(out());
  const auto model = LoadModel(options, LocalPlans(options));
  ASSERT_TRUE(model.ok()) << model.status();
  StepDriver driver(**model);
  driver.Begin(0, Greedy());
  const std::vector<Drawn> drawn = driver.Generate(0, expected.prompt, 4, 1000, 1);
  ASSERT_EQ(drawn.size(), 4U);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    EXPECT_EQ(drawn[i].id, expected.greedy[i]) << i;
    EXPECT_NEAR(drawn[i].logprob, expected.greedy_logprobs[i], 0.15F) << i;
  }
}

TEST_F(RequantizeGgufTest, ATiedHeadIsWrittenOnceAndAsAHead) {
  WriteWideModel(in(), 256, 512);
  ChangeConfig([](json& config) { config["tie_word_embeddings"] = true; });
  SafetensorsParts parts = SplitSafetensors(ReadFile(in() / "model.safetensors"));
  // The head's name, given away: what it holds is of no use.
  parts.header["lm_head.useless"] = parts.header["lm_head.weight"];
  parts.header.erase("lm_head.weight");
  WriteFile(in() / "model.safetensors", Safetensors(parts.header, parts.data));
  const auto loss = Write(GgufFileType::kQ4_K_M);
  ASSERT_TRUE(loss.ok()) << loss.status();
  EXPECT_EQ(loss->matrices, 15);
  const auto types = TypesOf(out());
  EXPECT_FALSE(types.contains("output.weight"));
  EXPECT_EQ(types.at("token_embd.weight"), "Q6_K");
  EXPECT_EQ(Compare(in(), out()).matrices, 15);
}

TEST_F(RequantizeGgufTest, KeepsWhatNoBlockHolds) {
  CopyModel("qwen2", in());  // 112 and 64 columns
  ASSERT_TRUE(Write(GgufFileType::kQ4_K_M).ok());
  const auto types = TypesOf(out());
  EXPECT_EQ(types.at("blk.0.ffn_down.weight"), "BF16");
  EXPECT_EQ(types.at("blk.0.ffn_up.weight"), "Q8_0");
  EXPECT_EQ(types.at("blk.0.attn_q.bias"), "F32");
}

TEST_F(RequantizeGgufTest, YarnAndLinearRopeAreSaid) {
  CopyModel("llama", in());
  ChangeConfig([](json& config) {
    config["rope_parameters"] = {
        {"rope_type", "yarn"},      {"factor", 4.0},
        {"rope_theta", 10000.0},    {"beta_fast", 16.0},
        {"attention_factor", 0.75}, {"original_max_position_embeddings", 64}};
  });
  ASSERT_TRUE(Write(GgufFileType::kQ8_0).ok());
  const auto yarn = std::get<YarnRopeScaling>(OpenModelFiles(out())->Config()->rope.scaling);
  EXPECT_EQ(yarn.factor, 4);
  EXPECT_EQ(yarn.beta_fast, 16);
  EXPECT_EQ(yarn.beta_slow, 1);
  EXPECT_EQ(yarn.original_max_position_embeddings, 64);
  EXPECT_NEAR(yarn.attention_factor, 0.75, 1e-6);
  fs::remove(out());
  ChangeConfig([](json& config) {
    config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 10000.0}};
  });
  ASSERT_TRUE(Write(GgufFileType::kQ8_0).ok());
  const RopeConfig rope = OpenModelFiles(out())->Config()->rope;
  EXPECT_EQ(std::get<LinearRopeScaling>(rope.scaling).factor, 2);
}

TEST_F(RequantizeGgufTest, SamplingIsSaid) {
  CopyModel("llama", in());
  WriteFile(in() / "generation_config.json",
            R"({"temperature": 0.5, "top_p": 0.75, "top_k": 20, "eos_token_id": 95})");
  ASSERT_TRUE(Write(GgufFileType::kQ8_0).ok());
  const SamplingDefaults sampling = OpenModelFiles(out())->DefaultSampling().value();
  EXPECT_EQ(sampling.temperature, 0.5F);
  EXPECT_EQ(sampling.top_p, 0.75F);
  EXPECT_EQ(sampling.top_k, 20);
  EXPECT_FALSE(sampling.min_p.has_value());
}

TEST_F(RequantizeGgufTest, RefusesWhatItCannotSay) {
  const auto refusal = [this] {
    const auto refused = Write(GgufFileType::kQ8_0);
    EXPECT_FALSE(fs::exists(out()));
    EXPECT_FALSE(fs::exists(dir_.path() / "out.gguf.partial"));
    return refused.ok() ? "accepted" : std::string(refused.status().message());
  };
  CopyModel("deepseek", in());
  EXPECT_THAT(refusal(), HasSubstr("DeepseekV3ForCausalLM is not written as GGUF; supported: "));
  fs::remove_all(in());
  fs::create_directory(in());
  CopyModel("llama", in());
  ChangeConfig([](json& config) {
    config["rope_parameters"] = {
        {"rope_type", "yarn"}, {"factor", 4.0}, {"rope_theta", 1e4}, {"truncate", false}};
  });
  EXPECT_THAT(refusal(), HasSubstr("truncate is false, which a GGUF file cannot say"));
  ChangeConfig([](json& config) { config["quantization_config"] = {{"quant_method", "awq"}}; });
  EXPECT_THAT(refusal(), HasSubstr("rounded already"));
}

TEST_F(RequantizeGgufTest, WritesOverNothing) {
  CopyModel("llama", in());
  WriteFile(out(), "mine");
  EXPECT_EQ(Write(GgufFileType::kQ8_0).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadFile(out()), "mine");
}

}  // namespace
}  // namespace thinkwire::worker::model
