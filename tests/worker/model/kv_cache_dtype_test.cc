// What decides how keys and values are kept: the option, the checkpoint, and a file of scales.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::HasSubstr;

ModelOptions Options(const std::filesystem::path& dir, const std::string& dtype) {
  ModelOptions options = OptionsFor(dir);
  options.kv_cache_dtype = dtype;
  return options;
}

std::unique_ptr<ModelRunner> Load(const ModelOptions& options) {
  auto model = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

ModelInfo InfoOf(const ModelOptions& options) {
  const auto model = Load(options);
  return model == nullptr ? ModelInfo() : model->info();
}

std::string Refusal(const ModelOptions& options) {
  const auto model = LoadModel(options, LocalPlans(options));
  return model.ok() ? std::string("loaded") : std::string(model.status().message());
}

// A copy of the qwen2 model of two layers whose files say how keys and values are kept.
class ScaledModel {
 public:
  explicit ScaledModel(bool has_scheme) {
    CopyModel("qwen2", dir_.path());
    if (!has_scheme) return;
    json config = json::parse(ReadFile(dir_.path() / "config.json"));
    config["quantization_config"] = Fp8KvCacheConfig();
    WriteFile(dir_.path() / "config.json", config.dump());
  }

  // Powers of two for all, in bf16.
  void AddScales(float keys, float values) {
    auto [header, data] = SplitSafetensors(ReadFile(dir_.path() / "model.safetensors"));
    for (const char* layer : {"0", "1"}) {
      for (const auto& [which, scale] : {std::pair("k", keys), std::pair("v", values)}) {
        const std::string name = std::string("model.layers.") + layer + ".self_attn." + which;
        header[name + "_scale"] = {
            {"dtype", "BF16"}, {"shape", {1}}, {"data_offsets", {data.size(), data.size() + 2}}};
        const int bits = (127 + std::ilogb(scale)) << 7;
        data += {static_cast<char>(bits & 0xFF), static_cast<char>(bits >> 8)};
      }
    }
    WriteFile(dir_.path() / "model.safetensors", Safetensors(header, data));
  }

  std::filesystem::path WriteScales(float keys, float values) const {
    const json scales = {{"k_scale", {keys, keys}}, {"v_scale", {values, values}}};
    WriteFile(dir_.path() / "scales.json", scales.dump());
    return dir_.path() / "scales.json";
  }

  const std::filesystem::path& path() const { return dir_.path(); }

 private:
  TempDir dir_;
};

TEST(KvCacheDtypeTest, AutoIsWhatTheCheckpointWasMeasuredWith) {
  const ScaledModel plain(false);
  EXPECT_EQ(InfoOf(Options(plain.path(), "auto")).kv_cache_dtype, "f32");
  EXPECT_EQ(InfoOf(Options(plain.path(), "fp8_e4m3")).kv_cache_dtype, "fp8_e4m3");
  ScaledModel with_scheme(true);
  with_scheme.AddScales(0.5F, 0.25F);
  const ModelInfo info = InfoOf(Options(with_scheme.path(), "auto"));
  EXPECT_EQ(info.kv_cache_dtype, "fp8_e4m3");
  EXPECT_THAT(info.fingerprint, HasSubstr("-bf16-kv_fp8_e4m3-tp1-cpu-"));
  EXPECT_THAT(info.warnings, testing::IsEmpty());
  EXPECT_EQ(InfoOf(Options(with_scheme.path(), "bfloat16")).kv_cache_dtype, "f32");
}

TEST(KvCacheDtypeTest, ASchemeWithoutScalesIsAWarning) {
  const ScaledModel model(true);
  EXPECT_THAT(InfoOf(Options(model.path(), "auto")).warnings,
              testing::Contains(HasSubstr("kv_cache_scheme has scales, of which the checkpoint "
                                          "holds none: 1 is taken")));
}

TEST(KvCacheDtypeTest, TheFingerprintTellsDtypeAndScales) {
  ScaledModel model(false);
  const std::string whole = InfoOf(Options(model.path(), "auto")).fingerprint;
  ModelOptions options = Options(model.path(), "fp8_e4m3");
  const std::string ones = InfoOf(options).fingerprint;
  EXPECT_NE(ones, whole);
  options.kv_scales_file = model.WriteScales(0.5F, 0.25F);
  const std::string scaled = InfoOf(options).fingerprint;
  EXPECT_NE(scaled, ones);
  options.kv_scales_file = model.WriteScales(0.25F, 0.5F);
  EXPECT_NE(InfoOf(options).fingerprint, scaled);
  // The same from the checkpoint; a file wins over that.
  model.AddScales(0.5F, 0.25F);
  options.kv_scales_file.clear();
  EXPECT_EQ(InfoOf(options).fingerprint, scaled);
  options.kv_scales_file = model.WriteScales(2.0F, 2.0F);
  EXPECT_NE(InfoOf(options).fingerprint, scaled);
  // Of no use to who keeps them whole.
  EXPECT_EQ(InfoOf(Options(model.path(), "bfloat16")).fingerprint, whole);
}

TEST(KvCacheDtypeTest, ABlockTakesAQuarterOfFloat32) {
  const ScaledModel model(false);
  ModelOptions options = Options(model.path(), "auto");
  options.kv_cache_memory_bytes = 1 << 16;
  const std::int64_t whole = InfoOf(options).kv_cache_tokens;
  options.kv_cache_dtype = "fp8_e4m3";
  EXPECT_EQ(InfoOf(options).kv_cache_tokens, std::min<std::int64_t>(4 * whole, 4 * 128));
}

TEST(KvCacheDtypeTest, WhatDoesNotFitIsRefused) {
  ScaledModel model(false);
  ModelOptions options = Options(model.path(), "auto");
  options.kv_scales_file = model.WriteScales(1.0F, 1.0F);
  EXPECT_EQ(Refusal(options), "kv_scales_file is only for kv_cache_dtype fp8_e4m3");
  options.kv_cache_dtype = "fp8_e4m3";
  WriteFile(options.kv_scales_file, R"({"k_scale": [1], "v_scale": [1]})");
  EXPECT_THAT(Refusal(options), HasSubstr("a list of 2 numbers"));
  model.AddScales(0x1p40F, 1.0F);
  options.kv_scales_file.clear();
  EXPECT_THAT(Refusal(options), HasSubstr("allowed for a KV scale"));
  options.model_dir = ModelDir("deepseek");
  EXPECT_THAT(Refusal(options), HasSubstr("allowed for the latents of DeepseekV3ForCausalLM: "
                                          "bfloat16"));
}

// The model's log probability of `id` after the prompt, which is among its most probable.
float LogprobAfter(const ModelOptions& options, const std::vector<std::int32_t>& prompt,
                   std::int32_t id) {
  const auto model = Load(options);
  if (model == nullptr) return 0;
  StepDriver driver(*model);
  driver.Begin(0, Greedy());
  const Drawn drawn = driver.Step({{.slot = 0, .ids = prompt, .alternatives = 20}}).at(0);
  for (const step::Alternative& alternative : drawn.alternatives) {
    if (alternative.id == id) return alternative.logprob;
  }
  ADD_FAILURE() << id << " is not among the most probable";
  return 0;
}

// e4m3 keeps four bits: a weighted sum of keys or values is off by some 2 %.
TEST(KvCacheDtypeTest, LogprobsAreNearThoseOfWholeKeysAndValues) {
  const Expected expected = ReadExpected("qwen2");
  const ScaledModel model(false);
  ModelOptions options = Options(model.path(), "fp8_e4m3");
  for (const float scale : {1.0F, 0.01F}) {
    options.kv_scales_file = model.WriteScales(scale, scale);
    const float logprob = LogprobAfter(options, expected.prompt, expected.greedy.front());
    EXPECT_NEAR(logprob, expected.greedy_logprobs.front(), 0.2F) << scale;
    EXPECT_NE(logprob, expected.greedy_logprobs.front());
  }
}

TEST(KvCacheDtypeTest, TwoRanksKeepTheirHeadsWithTheSameScales) {
  const Expected expected = ReadExpected("qwen2");
  const ScaledModel model(false);
  ModelOptions options = Options(model.path(), "fp8_e4m3");
  options.kv_scales_file = model.WriteScales(0.03F, 0.02F);
  const float one = LogprobAfter(options, expected.prompt, expected.greedy.front());
  options.tensor_parallel_size = 2;
  EXPECT_NEAR(LogprobAfter(options, expected.prompt, expected.greedy.front()), one, 0.05F);
}

}  // namespace
}  // namespace thinkwire::worker::model
