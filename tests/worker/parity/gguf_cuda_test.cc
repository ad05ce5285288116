// GGUF files on a GPU: the bits of the BF16 weights that they stand for, and a CPU's answers.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/gguf_model.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/packed_model.h"
#include "tests/worker/model/step_driver.h"
#include "worker/kernels/devices.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

constexpr std::int32_t kDraws = 24;
constexpr char kBundledModel[] = "deploy/models/tiny-r1";
// "What is 27+48?" to that model, and "<think>" and a line's end for it.
const std::vector<std::int32_t> kQuestion = {615, 613, 350, 310, 220, 17,  22,
                                             10,  19,  23,  30,  614, 617, 198};

ModelOptions OptionsFor(const std::filesystem::path& model, const std::string& device) {
  ModelOptions options;
  options.model_dir = model;
  options.device = device;
  options.max_model_len = 256;
  options.max_num_seqs = 4;
  options.max_num_batched_tokens = 256;
  return options;
}

std::vector<Drawn> Draw(const ModelOptions& options, const std::vector<std::int32_t>& prompt,
                        std::size_t chunk) {
  const auto loaded = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  if (!loaded.ok()) return {};
  StepDriver driver(**loaded);
  driver.Begin(0, Greedy());
  return driver.Generate(0, prompt, kDraws, chunk, 1);
}

std::vector<std::int32_t> Prompt() {
  std::vector<std::int32_t> prompt;
  for (std::int32_t i = 0; i < 100; ++i) prompt.push_back(7 * i % 90);
  return prompt;
}

void SkipWithoutGpu() {
  std::string error;
  if (kernels::OpenDevices({"cuda", 1, 0}, &error).empty()) GTEST_SKIP() << error;
}

class GgufCudaTest : public testing::TestWithParam<PackedModelShape> {
 protected:
  void SetUp() override { SkipWithoutGpu(); }
};

// In chunks, so that steps have more than 64 tokens, fewer, and one.
TEST_P(GgufCudaTest, HasTheBitsOfTheWeightsUnpackedAhead) {
  const PackedModel model(GetParam());
  const auto draw = [](const std::filesystem::path& file, std::size_t chunk) {
    return Draw(OptionsFor(file, "cuda"), Prompt(), chunk);
  };
  const std::vector<Drawn> expected = draw(model.unpacked(), 1000);
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kDraws));
  EXPECT_EQ(draw(model.packed(), 1000), expected);
  EXPECT_EQ(draw(model.packed(), 7), expected);
  EXPECT_EQ(draw(model.packed(), 1), expected);
}

PackedModelShape Form(const std::string& family, Encoding most, Encoding some) {
  return {.family = family, .most = most, .some = some, .ffn = 768, .head_dim = 128};
}

INSTANTIATE_TEST_SUITE_P(Forms, GgufCudaTest,
                         testing::Values(Form("qwen2", Encoding::kQ4K, Encoding::kQ6K),
                                         Form("llama", Encoding::kQ4K, Encoding::kQ6K),
                                         Form("llama", Encoding::kQ8_0, Encoding::kQ8_0),
                                         Form("qwen2", Encoding::kQ5K, Encoding::kQ4_0),
                                         Form("qwen2", Encoding::kQ2K, Encoding::kQ3K),
                                         Form("llama", Encoding::kIq4Xs, Encoding::kIq4Nl)),
                         [](const auto& info) {
                           return info.param.family + std::to_string(info.index);
                         });

// A whole file of a model that was trained: what is most probable there is so by far.
TEST(GgufBundledModelTest, AnswersOnAGpuAsOnACpu) {
  SkipWithoutGpu();
  if (testing::Test::IsSkipped()) return;
  const TempDir dir;
  GgufWriter writer;
  AddValues(kBundledModel, writer);
  AddTensors(kBundledModel, Encoding::kQ8_0, writer);
  WriteFile(dir.path() / "x.gguf", writer.File());
  const auto ids = [&](const std::string& device) {
    std::vector<std::int32_t> drawn;
    for (const Drawn& draw : Draw(OptionsFor(dir.path() / "x.gguf", device), kQuestion, 1000)) {
      drawn.push_back(draw.id);
    }
    return drawn;
  };
  EXPECT_EQ(ids("cuda"), ids("cpu"));
}

}  // namespace
}  // namespace thinkwire::worker::model
