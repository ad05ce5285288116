#include "worker/model/checkpoint/requantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tests/worker/model/model_files.h"
#include "tests/worker/model/wide_model.h"
#include "worker/model/checkpoint/model_plan.h"

namespace thinkwire::worker::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

struct Compared {
  double error = 0;
  double magnitude = 0;
  std::int64_t matrices = 0;
};

// What our own reader makes of the result, beside the original.
Compared Compare(const fs::path& from, const fs::path& to) {
  const PlannedFiles before = OpenPlanned(from);
  PlannedFiles after = OpenPlanned(to);
  Compared compared;
  ForEachMatrix(after.plan, [&](PlannedTensor& tensor) {
    TensorSpec plain = tensor.spec;
    plain.encoding = kernels::Encoding::kBf16;
    const std::vector<float> was = FloatsOf(*before.weights, plain);
    const std::vector<float> is = FloatsOf(*after.weights, tensor.spec);
    if (tensor.spec.name == kHeadName) {
      EXPECT_EQ(was, is);
      return;
    }
    EXPECT_TRUE(kernels::IsPacked(tensor.spec.encoding)) << tensor.spec.name;
    ++compared.matrices;
    for (std::size_t i = 0; i < was.size(); ++i) {
      compared.error += std::fabs(static_cast<double>(was[i]) - is[i]);
      compared.magnitude += std::fabs(static_cast<double>(was[i]));
    }
  });
  return compared;
}

void ExpectReadAsTold(RequantizedAs format, double least, double most) {
  const TempDir dir;
  fs::create_directory(dir.path() / "in");
  WriteWideModel(dir.path() / "in", 128, 256);
  const auto loss = Requantize(dir.path() / "in", dir.path() / "out", format);
  ASSERT_TRUE(loss.ok()) << loss.status();
  const Compared compared = Compare(dir.path() / "in", dir.path() / "out");
  EXPECT_EQ(loss->matrices, 14);
  EXPECT_EQ(compared.matrices, 14);
  EXPECT_NEAR(compared.error / compared.magnitude, loss->mean_relative_error, 1e-6);
  EXPECT_GT(loss->mean_relative_error, least);
  EXPECT_LT(loss->mean_relative_error, most);
  EXPECT_FALSE(fs::exists(dir.path() / "out.partial"));
  EXPECT_TRUE(fs::exists(dir.path() / "out" / "generation_config.json"));
}

// Steps of a fifteenth of an even distribution's width are off by a sixtieth of it on the mean,
// where the weights themselves are a quarter of it.
TEST(RequantizeTest, AwqReadsBackAsTold) {
  ExpectReadAsTold(RequantizedAs::kAwqGemm, 0.055, 0.075);
}

// Three bits of fraction are off by at most a sixteenth.
TEST(RequantizeTest, Fp8ReadsBackAsTold) {
  ExpectReadAsTold(RequantizedAs::kFp8Block, 0.01, 1.0 / 32);
}

// Embedding and head take 24,576 bytes each, more than a file may.
TEST(RequantizeTest, WritesSeveralFilesWithTheirIndex) {
  const TempDir dir;
  fs::create_directory(dir.path() / "in");
  WriteWideModel(dir.path() / "in", 128, 256);
  const auto one = Requantize(dir.path() / "in", dir.path() / "one", RequantizedAs::kAwqGemm);
  const auto several =
      Requantize(dir.path() / "in", dir.path() / "several", RequantizedAs::kAwqGemm, 20'000);
  ASSERT_TRUE(one.ok() && several.ok()) << one.status() << several.status();
  EXPECT_EQ(one->mean_relative_error, several->mean_relative_error);
  const json index = json::parse(ReadFile(dir.path() / "several/model.safetensors.index.json"));
  std::set<std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) files.insert(file);
  EXPECT_GT(files.size(), 3U);
  std::size_t bytes = 0;
  for (const std::string& file : files) {
    const std::string data = SplitSafetensors(ReadFile(dir.path() / "several" / file)).data;
    EXPECT_TRUE(data.size() <= 20'000 || data.size() == 24'576) << file << " " << data.size();
    bytes += data.size();
  }
  EXPECT_EQ(index["metadata"]["total_size"], bytes);
  EXPECT_EQ(OpenPlanned(dir.path() / "several").weights->identity(),
            OpenPlanned(dir.path() / "one").weights->identity());
}

TEST(RequantizeTest, AwqTakesTheGroupThatWidthsAllow) {
  const TempDir dir;
  const auto loss = Requantize(ModelDir("llama"), dir.path() / "out", RequantizedAs::kAwqGemm);
  ASSERT_TRUE(loss.ok()) << loss.status();
  const json config = json::parse(ReadFile(dir.path() / "out" / "config.json"));
  EXPECT_EQ(config["quantization_config"]["group_size"], 32);
  EXPECT_EQ(Compare(ModelDir("llama"), dir.path() / "out").matrices, 14);
}

TEST(RequantizeTest, AwqTakesTheGroupThatIsAskedFor) {
  const TempDir dir;
  fs::create_directory(dir.path() / "in");
  WriteWideModel(dir.path() / "in", 192, 256);
  const auto requantize = [&](RequantizedAs format, std::int64_t group) {
    const fs::path out = dir.path() / std::to_string(group);
    return Requantize(dir.path() / "in", out, format, kMostFileBytes, group);
  };
  double before = 0;
  for (const std::int64_t group : {32, 64}) {
    const auto loss = requantize(RequantizedAs::kAwqGemm, group);
    ASSERT_TRUE(loss.ok()) << loss.status();
    const fs::path out = dir.path() / std::to_string(group);
    const json config = json::parse(ReadFile(out / "config.json"));
    EXPECT_EQ(config["quantization_config"]["group_size"], group);
    EXPECT_EQ(Compare(dir.path() / "in", out).matrices, 14);
    EXPECT_GT(loss->mean_relative_error, before);
    before = loss->mean_relative_error;
  }
  const auto refusal = [&](RequantizedAs format, std::int64_t group) {
    return std::string(requantize(format, group).status().message());
  };
  EXPECT_THAT(refusal(RequantizedAs::kAwqGemm, 128),
              HasSubstr("192 columns; awq-gemm in such groups takes multiples of 128"));
  EXPECT_EQ(refusal(RequantizedAs::kAwqGemm, 48), "group_size is 48; allowed: 128, 64, 32");
  EXPECT_EQ(refusal(RequantizedAs::kFp8Block, 128),
            "group_size is 128; allowed: none, but for awq-gemm");
}

TEST(RequantizeTest, RefusesNarrowMatrices) {
  const TempDir dir;
  const auto refused = Requantize(ModelDir("llama"), dir.path() / "out", RequantizedAs::kFp8Block);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("multiples of 128"));
  EXPECT_FALSE(fs::exists(dir.path() / "out"));
  EXPECT_FALSE(fs::exists(dir.path() / "out.partial"));
}

TEST(RequantizeTest, WritesOverNothing) {
  const TempDir dir;
  CopyModel("llama", dir.path());
  const std::string before = ReadFile(dir.path() / "config.json");
  const auto refused = Requantize(dir.path(), dir.path(), RequantizedAs::kAwqGemm);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadFile(dir.path() / "config.json"), before);
}

TEST(RequantizeTest, RefusesWhatIsRoundedAlready) {
  const TempDir dir;
  ASSERT_TRUE(Requantize(ModelDir("llama"), dir.path() / "a", RequantizedAs::kAwqGemm).ok());
  const auto again = Requantize(dir.path() / "a", dir.path() / "b", RequantizedAs::kAwqGemm);
  EXPECT_THAT(std::string(again.status().message()), HasSubstr("quantization_config"));
}

}  // namespace
}  // namespace thinkwire::worker::model
