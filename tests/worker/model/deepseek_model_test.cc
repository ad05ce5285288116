// A whole DeepseekV3 on the CPU: what transformers computes from it, on ranks, packed, and what is
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/fakes/async_backend.h"
#include "tests/fakes/stderr_log.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/quantized_model.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "tests/worker/model/wide_model.h"
#include "worker/model/checkpoint/requantize.h"
#include "worker/model/load_model.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::model {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr std::int32_t kDraws = 24;  // as many as the expected file holds

std::unique_ptr<ModelRunner> Load(const ModelOptions& options) {
  auto model = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

std::vector<Drawn> Draw(const ModelOptions& options, std::size_t chunk = 1000) {
  const auto model = Load(options);
  if (model == nullptr) return {};
  StepDriver driver(*model);
  driver.Begin(0, Greedy());
  return driver.Generate(0, ReadExpected("deepseek").prompt, kDraws, chunk, 1);
}

std::vector<std::int32_t> Ids(const std::vector<Drawn>& drawn) {
  std::vector<std::int32_t> ids;
  for (const Drawn& token : drawn) ids.push_back(token.id);
  return ids;
}

void ExpectWhatTransformersDraws(const std::vector<Drawn>& drawn) {
  const Expected expected = ReadExpected("deepseek");
  ASSERT_EQ(Ids(drawn), expected.greedy);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    EXPECT_NEAR(drawn[i].logprob, expected.greedy_logprobs[i], 1e-4F) << "token " << i;
  }
}

class DeepseekRanksTest : public testing::TestWithParam<int> {};

TEST_P(DeepseekRanksTest, TokensMatchTransformers) {
  ExpectWhatTransformersDraws(Draw(OptionsFor(ModelDir("deepseek"), GetParam())));
}

INSTANTIATE_TEST_SUITE_P(Ranks, DeepseekRanksTest, testing::Values(1, 2, 4));

TEST_P(DeepseekRanksTest, GiveTheBitsOfOneAndItsFingerprint) {
  const ModelOptions options = OptionsFor(ModelDir("deepseek"), GetParam());
  EXPECT_EQ(Draw(options), Draw(OptionsFor(ModelDir("deepseek"))));
  EXPECT_EQ(Load(options)->info().fingerprint,
            Load(OptionsFor(ModelDir("deepseek")))->info().fingerprint);
}

TEST(DeepseekModelTest, InfoDescribesTheModel) {
  const auto model = Load(OptionsFor(ModelDir("deepseek")));
  ASSERT_NE(model, nullptr);
  const ModelInfo& info = model->info();
  EXPECT_EQ(info.architecture, "DeepseekV3ForCausalLM");
  EXPECT_THAT(info.warnings, IsEmpty());
  EXPECT_THAT(info.fingerprint, StartsWith("deepseekv3-bf16-sums4-cpu-r"));
  // Nearly all are matrices, in two bytes; of 16 experts a token reads 4.
  EXPECT_NEAR(static_cast<double>(info.weight_bytes), 2.0 * static_cast<double>(info.parameters),
              0.02 * static_cast<double>(info.weight_bytes));
  const std::int64_t expert = 2 * 3 * 128 * 128;
  const std::int64_t embedding = 2 * 96 * 128;
  EXPECT_EQ(info.weight_bytes - info.weight_bytes_per_token, 2 * 12 * expert + embedding);
}

// As writers that keep the layers that predict further tokens have it.
TEST(DeepseekModelTest, FurtherPredictingLayersAreLeftWhereTheyAre) {
  const TempDir dir;
  CopyModel("deepseek", dir.path());
  SafetensorsParts parts = SplitSafetensors(ReadFile(dir.path() / "model.safetensors"));
  const std::int64_t end = std::ssize(parts.data);
  parts.header["model.layers.3.enorm.weight"] = {
      {"dtype", "BF16"}, {"shape", {2}}, {"data_offsets", {end, end + 4}}};
  WriteFile(dir.path() / "model.safetensors",
            Safetensors(parts.header, parts.data + std::string(4, '\0')));
  const StderrLog log;
  const auto model = Load(OptionsFor(dir.path()));
  ASSERT_NE(model, nullptr);
  EXPECT_THAT(model->info().warnings, IsEmpty());
  EXPECT_THAT(log.text(),
              AllOf(HasSubstr("layers that predict further tokens (MTP) are not loaded"),
                    HasSubstr("model.layers.3.enorm.weight"), HasSubstr("\"bytes\":4")));
}

// The router and its bias are as exact as they are stored: F32 of the same numbers is the same.
TEST(DeepseekModelTest, AcceptsOtherFloatTypes) {
  const TempDir dir;
  CopyModel("deepseek", dir.path());
  SafetensorsParts parts = SplitSafetensors(ReadFile(dir.path() / "model.safetensors"));
  std::string data;
  for (std::size_t i = 0; i < parts.data.size(); i += 2) {
    data.append(2, '\0').append(parts.data, i, 2);
  }
  for (auto& [name, entry] : parts.header.items()) {
    if (name == "__metadata__") continue;
    entry["dtype"] = "F32";
    for (auto& offset : entry["data_offsets"]) offset = 2 * offset.get<std::int64_t>();
  }
  WriteFile(dir.path() / "model.safetensors", Safetensors(parts.header, data));
  EXPECT_EQ(Draw(OptionsFor(dir.path())), Draw(OptionsFor(ModelDir("deepseek"))));
}

TEST(DeepseekModelTest, MissesARouterByName) {
  const TempDir dir;
  CopyModel("deepseek", dir.path());
  SafetensorsParts parts = SplitSafetensors(ReadFile(dir.path() / "model.safetensors"));
  auto entry = parts.header["model.layers.1.mlp.gate.weight"];
  parts.header.erase("model.layers.1.mlp.gate.weight");
  parts.header["model.layers.1.mlp.gates.weight"] = entry;
  WriteFile(dir.path() / "model.safetensors", Safetensors(parts.header, parts.data));
  const ModelOptions options = OptionsFor(dir.path());
  const auto model = LoadModel(options, LocalPlans(options));
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("model.layers.1.mlp.gate.weight"));
}

// Blocks of 128 x 128 with ragged rows, as DeepSeek's own files have them.
class DeepseekFp8Test : public testing::Test {
 protected:
  DeepseekFp8Test() { WriteQuantized(ModelDir("deepseek"), {"fp8"}, packed(), dense()); }
  std::filesystem::path packed() const { return dir_.path() / "packed"; }
  std::filesystem::path dense() const { return dir_.path() / "dense"; }

 private:
  const TempDir dir_;
};

TEST_F(DeepseekFp8Test, GivesTheSameBitsInAnyChunkAndOnTwoRanks) {
  const std::vector<Drawn> expected = Draw(OptionsFor(packed()));
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kDraws));
  EXPECT_EQ(Draw(OptionsFor(packed()), 7), expected);
  EXPECT_EQ(Draw(OptionsFor(packed(), 2)), expected);
  EXPECT_EQ(Load(OptionsFor(packed(), 2))->info().fingerprint,
            Load(OptionsFor(packed()))->info().fingerprint);
}

// Of which a model this small can make sums of four parts, where whole blocks leave two.
TEST_F(DeepseekFp8Test, DrawsWhatTheWeightsUnpackedAheadDraw) {
  const std::vector<Drawn> packed_ones = Draw(OptionsFor(packed()));
  const std::vector<Drawn> dense_ones = Draw(OptionsFor(dense()));
  ASSERT_EQ(Ids(packed_ones), Ids(dense_ones));
  for (std::size_t i = 0; i < dense_ones.size(); ++i) {
    EXPECT_NEAR(packed_ones[i].logprob, dense_ones[i].logprob, 1e-5F) << "token " << i;
  }
}

// thinkwire-worker quantize leaves the router as it is, as DeepSeek does.
TEST_F(DeepseekFp8Test, IsWhatOurOwnCommandWrites) {
  const std::filesystem::path ours = packed().parent_path() / "ours";
  const auto loss = Requantize(ModelDir("deepseek"), ours, RequantizedAs::kFp8Block);
  ASSERT_TRUE(loss.ok()) << loss.status();
  const auto model = Load(OptionsFor(ours));
  ASSERT_NE(model, nullptr);
  EXPECT_THAT(model->info().fingerprint, StartsWith("deepseekv3-bf16+fp8-sums2-cpu-r"));
  EXPECT_THAT(model->info().warnings, IsEmpty());
}

TEST_F(DeepseekFp8Test, TakesHalfTheMemoryAndSaysSo) {
  const auto model = Load(OptionsFor(packed()));
  const auto unpacked = Load(OptionsFor(dense()));
  ASSERT_TRUE(model != nullptr && unpacked != nullptr);
  EXPECT_THAT(model->info().fingerprint, StartsWith("deepseekv3-bf16+fp8-sums2-cpu-r"));
  EXPECT_LT(model->info().weight_bytes, unpacked->info().weight_bytes * 6 / 10);
}

TEST_F(DeepseekFp8Test, RanksTakeWholeBlocks) {
  const ModelOptions options = OptionsFor(packed(), 4);
  const auto model = LoadModel(options, LocalPlans(options));
  ASSERT_FALSE(model.ok());
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr("16 experts"), HasSubstr("in whole packed blocks of 128 columns"),
                    HasSubstr("allowed: 1, 2")));
}

// A device that says of itself that it is a GPU.
class GpuByName final : public kernels::AsyncBackend {
 public:
  GpuByName() : AsyncBackend(1, false) {
    capabilities_ = AsyncBackend::capabilities();
    capabilities_.kind = kernels::DeviceKind::kCuda;
    capabilities_.name = "cuda sm_90";
  }
  const kernels::Capabilities& capabilities() const override { return capabilities_; }

 private:
  kernels::Capabilities capabilities_;
};

TEST(DeepseekModelTest, AGpuIsRefusedByName) {
  Devices devices;
  devices.backends.push_back(std::make_unique<GpuByName>());
  devices.communicators = parallel::MakeSoloCommunicator(*devices.backends[0]);
  const ModelOptions options = OptionsFor(ModelDir("deepseek"));
  const auto model = LoadModel(options, LocalPlans(options), std::move(devices));
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(std::string(model.status().message()),
            "latents of kv_lora_rank 128 and qk_rope_head_dim 16 (others than 512 and 64) are not "
            "supported on cuda sm_90; these are computed with device cpu");
}

TEST(DeepseekModelTest, AGpuTakesWhatARankHasOfAFeedForwardInEights) {
  const TempDir dir;
  WriteWideModel(dir.path(), 128, 100);
  Devices devices;
  devices.backends.push_back(std::make_unique<GpuByName>());
  devices.communicators = parallel::MakeSoloCommunicator(*devices.backends[0]);
  const ModelOptions options = OptionsFor(dir.path());
  EXPECT_EQ(
      std::string(LoadModel(options, LocalPlans(options), std::move(devices)).status().message()),
      "tensor_parallel_size 1 leaves 100 of intermediate_size 100 to a rank; cuda sm_90 "
      "takes them in 8s");
  EXPECT_NE(Load(options), nullptr) << "a CPU takes any";
}

TEST(FirstLayersOfRandomWeightsTest, AreComputedAndToldOf) {
  ModelOptions options = OptionsFor(ModelDir("deepseek"));
  options.random_weights = true;
  options.num_layers = 2;
  const auto model = Load(options);
  ASSERT_NE(model, nullptr);
  EXPECT_THAT(model->info().warnings, ElementsAre(HasSubstr("the first 2 of 3 layers")));
  EXPECT_THAT(model->info().fingerprint, StartsWith("deepseekv3-first2of3-bf16-sums4-cpu-r"));
  const std::vector<Drawn> two = Draw(options);
  EXPECT_EQ(Draw(options, 5), two);
  options.num_layers = 0;
  EXPECT_NE(Draw(options), two);
}

TEST(FirstLayersOfRandomWeightsTest, AreRefusedOfACheckpoint) {
  const auto refusal = [](ModelOptions options) {
    return std::string(LoadModel(options, LocalPlans(options)).status().message());
  };
  ModelOptions options = OptionsFor(ModelDir("deepseek"));
  options.num_layers = 2;
  EXPECT_THAT(refusal(options), HasSubstr("num_layers is only for random_weights"));
  options.random_weights = true;
  options.num_layers = 4;
  EXPECT_THAT(refusal(options), HasSubstr("num_layers is 4; allowed: 1 to 3"));
}

}  // namespace
}  // namespace thinkwire::worker::model
