#include "worker/model/checkpoint/fp8_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/small_options.h"
#include "tests/worker/model/step_driver.h"
#include "tests/worker/model/wide_model.h"
#include "worker/model/checkpoint/random_weights.h"
#include "worker/model/checkpoint/requantize.h"
#include "worker/model/load_model.h"

// Weights that become FP8 while they are loaded, beside a folder that has them so.
namespace thinkwire::worker::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kTinyModel[] = "deploy/models/tiny-r1";  // 256 wide, four heads of 128, ffn 640

ModelOptions MadeFp8(const std::filesystem::path& model, std::int32_t ranks = 1) {
  ModelOptions options = OptionsFor(model, ranks);
  options.quantization = "fp8";
  return options;
}

absl::StatusOr<std::unique_ptr<ModelRunner>> Load(const ModelOptions& options) {
  return LoadModel(options, LocalPlans(options));
}

std::string Refusal(const ModelOptions& options) {
  const auto model = Load(options);
  return model.ok() ? "accepted" : std::string(model.status().message());
}

std::vector<Drawn> Draw(const ModelOptions& options, std::size_t chunk = 1000) {
  const auto model = Load(options);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  StepDriver driver(**model);
  driver.Begin(0, Greedy());
  return driver.Generate(0, {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 7, 77}, 8, chunk, 1);
}

TEST(MadeFp8Test, HasTheBitsOfAFolderThatIsSo) {
  const TempDir dir;
  const auto folder = dir.path() / "fp8";
  ASSERT_TRUE(Requantize(kTinyModel, folder, RequantizedAs::kFp8Block).ok());
  const std::vector<Drawn> expected = Draw(MadeFp8(folder));
  ASSERT_EQ(expected.size(), 8U);
  EXPECT_EQ(Draw(MadeFp8(kTinyModel)), expected);
  EXPECT_EQ(Draw(MadeFp8(kTinyModel), 5), expected);
  EXPECT_NE(Draw(OptionsFor(kTinyModel)), expected);
}

TEST(MadeFp8Test, RanksTakeTheirPartsOfTheSameBlocks) {
  const TempDir dir;
  const auto wide = dir.path() / "wide";
  const auto folder = dir.path() / "fp8";
  std::filesystem::create_directory(wide);
  WriteWideModel(wide, 128, 512, 64);
  ASSERT_TRUE(Requantize(wide, folder, RequantizedAs::kFp8Block).ok());
  const std::vector<Drawn> expected = Draw(OptionsFor(folder, 2));
  ASSERT_EQ(expected.size(), 8U);
  EXPECT_EQ(Draw(MadeFp8(wide, 2)), expected);
}

TEST(MadeFp8Test, TellsItself) {
  const auto made = Load(MadeFp8(kTinyModel));
  const auto dense = Load(OptionsFor(kTinyModel));
  ASSERT_TRUE(made.ok() && dense.ok());
  EXPECT_THAT((*made)->info().fingerprint, StartsWith("qwen2-bf16+fp8-tp1-cpu"));
  EXPECT_EQ((*made)->info().stored_weights, "BF16, made FP8");
  EXPECT_LT((*made)->info().weight_bytes, 0.6 * (*dense)->info().weight_bytes);
}

TEST(MadeFp8Test, SoMayRandomOnesBe) {
  ModelOptions options = MadeFp8(kTinyModel);
  options.random_weights = true;
  const std::vector<Drawn> made = Draw(options);
  EXPECT_EQ(made, Draw(options));
  options.quantization = "auto";
  EXPECT_NE(made, Draw(options));
}

TEST(MadeFp8Test, RefusesWhatIsPackedOrNarrow) {
  const TempDir dir;
  ASSERT_TRUE(Requantize(kTinyModel, dir.path() / "awq", RequantizedAs::kAwqGemm).ok());
  EXPECT_EQ(Refusal(MadeFp8(dir.path() / "awq")),
            "quantization is fp8, but the weights are bf16+int4, which auto and awq allow");
  EXPECT_THAT(Refusal(MadeFp8(ModelDir("llama"))),
              AllOf(StartsWith("quantization is fp8, but tensor \"model.layers.0.self_attn.q_proj"),
                    HasSubstr("columns; supported: multiples of 128")));
  EXPECT_THAT(Refusal(MadeFp8(kTinyModel, 2)),
              HasSubstr("in whole packed blocks of 128 columns; allowed: 1"));
}

// Rows of a region that lie within a block have the scale of all of it.
TEST(Fp8WeightsTest, ARegionIsThatOfTheWhole) {
  ModelPlan plan = MakePlan(LoadModelConfig(kTinyModel).value());
  const auto weights = Fp8Weights::Over(std::make_unique<RandomWeights>(3), plan);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const TensorSpec& down = plan.layers[0][1].weights[1].matrices[0].spec;
  ASSERT_EQ(down.encoding, kernels::Encoding::kFp8);
  ASSERT_EQ(down.cols, 640);
  const HostSlice whole = (*weights)->Slice(down, {0, down.rows, 0, down.cols});
  const Region region = {.first_row = 100, .rows = 97, .first_col = 128, .cols = 256};
  const HostSlice part = (*weights)->Slice(down, region);
  const auto bytes = static_cast<std::size_t>(BytesOf(kernels::Encoding::kFp8, region.cols));
  for (std::int64_t row = 0; row < region.rows; ++row) {
    const char* const there =
        whole.slice.row(region.first_row + row) + BytesOf(kernels::Encoding::kFp8, 128);
    EXPECT_EQ(std::memcmp(part.slice.row(row), there, bytes), 0) << row;
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
