// Quantised folders on a GPU: the bits of the BF16 weights that they stand for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/quantized_model.h"
#include "tests/worker/model/step_driver.h"
#include "worker/kernels/devices.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker::model {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::int32_t kDraws = 24;
constexpr char kTinyModel[] = "deploy/models/tiny-r1";  // 256 wide, four heads of 128, ffn 640

absl::StatusOr<std::unique_ptr<ModelRunner>> Load(const std::filesystem::path& model) {
  ModelOptions options;
  options.model_dir = model;
  options.device = "cuda";
  options.max_model_len = 256;
  options.max_num_seqs = 4;
  options.max_num_batched_tokens = 256;
  return LoadModel(options, LocalPlans(options));
}

// Of a prompt of 100 tokens in chunks, so that steps have more than 64 tokens, fewer, and one.
std::vector<Drawn> Draw(const std::filesystem::path& model, std::size_t chunk) {
  const auto loaded = Load(model);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  if (!loaded.ok()) return {};
  std::vector<std::int32_t> prompt;
  for (std::int32_t i = 0; i < 100; ++i) prompt.push_back(7 * i % 90);
  StepDriver driver(**loaded);
  driver.Begin(0, Greedy());
  return driver.Generate(0, prompt, kDraws, chunk, 1);
}

class QuantizedCudaTest : public testing::TestWithParam<QuantizedForm> {
 protected:
  void SetUp() override {
    std::string error;
    if (kernels::OpenDevices({"cuda", 1, 0}, &error).empty()) GTEST_SKIP() << error;
    WriteQuantized(kTinyModel, GetParam(), packed(), dense());
  }
  std::filesystem::path packed() const { return dir_.path() / "packed"; }
  std::filesystem::path dense() const { return dir_.path() / "dense"; }

 private:
  TempDir dir_;
};

using GroupsTest = QuantizedCudaTest;

TEST_P(GroupsTest, HaveTheBitsOfTheWeightsUnpackedAhead) {
  const std::vector<Drawn> expected = Draw(dense(), 1000);
  ASSERT_EQ(expected.size(), static_cast<std::size_t>(kDraws));
  EXPECT_EQ(Draw(packed(), 1000), expected);
  EXPECT_EQ(Draw(packed(), 7), expected);
}

std::string NameOf(const testing::TestParamInfo<QuantizedForm>& info) {
  std::string name = info.param.method + "_" + std::to_string(info.index);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(Forms, GroupsTest,
                         testing::Values(QuantizedForm{"awq", 4, 128}, QuantizedForm{"awq", 4, 32},
                                         QuantizedForm{"awq", 4, 64}, QuantizedForm{"gptq", 8, 128},
                                         QuantizedForm{"gptq", 4, 128, false, true},
                                         QuantizedForm{"compressed-tensors", 4, 128}),
                         NameOf);

using OrderedColumnsTest = QuantizedCudaTest;

TEST_P(OrderedColumnsTest, AreRefusedByName) {
  const auto loaded = Load(packed());
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(loaded.status().message(),
              AllOf(HasSubstr("not supported on cuda"), HasSubstr("device cpu")));
}

INSTANTIATE_TEST_SUITE_P(Forms, OrderedColumnsTest,
                         testing::Values(QuantizedForm{"gptq", 4, 128, true}), NameOf);

}  // namespace
}  // namespace thinkwire::worker::model
