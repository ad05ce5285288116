#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/worker/model/gguf_model.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/packed_model.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "worker/model/load_model.h"

// GGUF files against the Hugging Face folders that they were made of, and packed weights against
// the same weights unpacked ahead.
namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;
using testing::HasSubstr;

constexpr std::int32_t kDraws = 24;  // as many as the expected files hold

std::unique_ptr<ModelRunner> Load(const ModelOptions& options) {
  auto model = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

std::string Refusal(const ModelOptions& options) {
  const auto model = LoadModel(options, LocalPlans(options));
  return model.ok() ? "accepted" : std::string(model.status().message());
}

std::vector<Drawn> Draw(const ModelOptions& options, const std::vector<std::int32_t>& prompt,
                        std::size_t chunk = 1000) {
  const auto model = Load(options);
  if (model == nullptr) return {};
  StepDriver driver(*model);
  driver.Begin(0, Greedy());
  return driver.Generate(0, prompt, kDraws, chunk, 1);
}

class GgufParity : public testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(GgufParity, TokensMatchTransformersOnAnyNumberOfRanks) {
  const auto& [name, ranks] = GetParam();
  const TempDir dir;
  WriteGguf(name, Encoding::kF32, dir.path() / "x.gguf");
  const Expected expected = ReadExpected(name);
  const std::vector<Drawn> drawn = Draw(OptionsFor(dir.path() / "x.gguf", ranks), expected.prompt);
  ASSERT_EQ(drawn.size(), expected.greedy.size());
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    EXPECT_EQ(drawn[i].id, expected.greedy[i]) << i;
    EXPECT_NEAR(drawn[i].logprob, expected.greedy_logprobs[i], 2e-4F) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GgufParity,
                         testing::Combine(testing::Values("qwen2", "qwen2-tied", "llama"),
                                          testing::Values(1, 2)),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param);
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name + "_tp" + std::to_string(std::get<1>(info.param));
                         });

TEST(GgufModelTest, Bf16HasTheBitsOfTheFolder) {
  const TempDir dir;
  WriteGguf("qwen2", Encoding::kBf16, dir.path() / "x.gguf");
  const Expected expected = ReadExpected("qwen2");
  EXPECT_EQ(Draw(OptionsFor(dir.path() / "x.gguf"), expected.prompt),
            Draw(OptionsFor(ModelDir("qwen2")), expected.prompt));
}

TEST(GgufModelTest, TellsWhatItKeeps) {
  const TempDir dir;
  WriteGguf("llama", Encoding::kQ8_0, dir.path() / "q.gguf");
  WriteGguf("llama", Encoding::kF16, dir.path() / "f.gguf");
  const auto packed = Load(OptionsFor(dir.path() / "q.gguf"));
  const auto dense = Load(OptionsFor(dir.path() / "f.gguf"));
  ASSERT_TRUE(packed != nullptr && dense != nullptr);
  EXPECT_THAT(packed->info().fingerprint, HasSubstr("llama-q8_0-tp1-cpu-"));
  EXPECT_THAT(dense->info().fingerprint, HasSubstr("llama-bf16-tp1-cpu-"));
  EXPECT_EQ(packed->info().stored_weights, "F32 and Q8_0");
  EXPECT_EQ(dense->info().stored_weights, "F16 and F32");
  // The embedding is bf16 in both.
  EXPECT_LT(packed->info().weight_bytes, dense->info().weight_bytes);
}

TEST(GgufModelTest, QuantizationAsserts) {
  const TempDir dir;
  WriteGguf("llama", Encoding::kQ8_0, dir.path() / "q.gguf");
  ModelOptions options = OptionsFor(dir.path() / "q.gguf");
  options.quantization = "gguf";
  EXPECT_EQ(Refusal(options), "accepted");
  options.quantization = "none";
  EXPECT_EQ(Refusal(options),
            "quantization is none, but the weights are q8_0, which auto and gguf allow");
  options.model_dir = ModelDir("llama");
  EXPECT_EQ(Refusal(options), "accepted");
  options.quantization = "gguf";
  EXPECT_THAT(Refusal(options), HasSubstr("but the weights are bf16, which auto and none allow"));
}

std::vector<std::int32_t> Prompt() {
  std::vector<std::int32_t> prompt;
  for (std::int32_t i = 0; i < 70; ++i) prompt.push_back(7 * i % 90);
  return prompt;
}

struct PackedForm {
  const char* family;
  Encoding most;
  Encoding some;
};
class PackedModelTest : public testing::TestWithParam<PackedForm> {};

TEST_P(PackedModelTest, HasTheBitsOfTheWeightsUnpackedAhead) {
  const PackedForm& form = GetParam();
  const PackedModel model({form.family, form.most, form.some});
  for (const std::int32_t ranks : {1, 2}) {
    const std::vector<Drawn> expected = Draw(OptionsFor(model.unpacked(), ranks), Prompt());
    ASSERT_EQ(expected.size(), static_cast<std::size_t>(kDraws));
    for (const std::size_t chunk : {1000, 1, 7}) {
      EXPECT_EQ(Draw(OptionsFor(model.packed(), ranks), Prompt(), chunk), expected)
          << ranks << " ranks, chunks of " << chunk;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, PackedModelTest,
                         testing::Values(PackedForm{"qwen2", Encoding::kQ4K, Encoding::kQ6K},
                                         PackedForm{"llama", Encoding::kQ4K, Encoding::kQ6K},
                                         PackedForm{"llama", Encoding::kQ8_0, Encoding::kQ8_0},
                                         PackedForm{"qwen2", Encoding::kQ5K, Encoding::kQ4_0}),
                         [](const auto& info) {
                           return std::string(info.param.family) + std::to_string(info.index);
                         });

TEST(PackedSplitTest, RanksTakeWholeBlocks) {
  const PackedModel model({.family = "llama", .ffn = 768});
  EXPECT_EQ(Refusal(OptionsFor(model.packed(), 2)),
            "tensor_parallel_size 2 does not split 8 attention heads, 2 key-value heads and "
            "intermediate_size 768 in whole packed blocks of 256 columns; allowed: 1");
  EXPECT_EQ(Refusal(OptionsFor(model.unpacked(), 2)), "accepted");
}

}  // namespace
}  // namespace thinkwire::worker::model
