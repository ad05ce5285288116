#include "worker/model/checkpoint/requantize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/model_files.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/unpack_row.h"
#include "worker/model/checkpoint/checkpoint_weights.h"

namespace thinkwire::worker::model {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

struct Loaded {
  ModelPlan plan;
  std::unique_ptr<CheckpointWeights> weights;
};

Loaded Load(const fs::path& dir) {
  Loaded loaded = {.plan = MakePlan(LoadModelConfig(dir).value()), .weights = nullptr};
  loaded.weights = CheckpointWeights::Open(dir, loaded.plan).value();
  return loaded;
}

std::vector<float> Values(const WeightSource& source, const TensorSpec& spec) {
  const HostSlice slice =
      source.Slice(spec, {.first_row = 0, .rows = spec.rows, .first_col = 0, .cols = spec.cols});
  std::vector<float> values(static_cast<std::size_t>(spec.rows * spec.cols));
  for (std::int64_t row = 0; row < spec.rows; ++row) {
    float* to = values.data() + row * spec.cols;
    if (kernels::IsPacked(slice.slice.encoding)) {
      kernels::UnpackRow(slice.slice.encoding, slice.slice.row(row), spec.cols, to);
      continue;
    }
    for (std::int64_t i = 0; i < spec.cols; ++i) {
      std::uint16_t bits;
      std::memcpy(&bits, slice.slice.row(row) + 2 * i, sizeof(bits));
      to[i] = kernels::F32FromBf16(bits);
    }
  }
  return values;
}

// The model "llama" with widths that blocks of 128 divide, and evenly distributed weights.
void WriteWideModel(const fs::path& dir) {
  CopyModel("llama", dir);
  json config = json::parse(ReadFile(dir / "config.json"));
  config["hidden_size"] = 128;
  config["intermediate_size"] = 256;
  WriteFile(dir / "config.json", config.dump());
  for (int i = 1; i <= 4; ++i) {
    fs::remove(dir / ("model-0000" + std::to_string(i) + "-of-00004.safetensors"));
  }
  fs::remove(dir / "model.safetensors.index.json");
  json header;
  std::string data;
  std::uint32_t state = 1;
  for (const TensorSpec& spec : RequiredTensors(MakePlan(LoadModelConfig(dir).value()))) {
    const std::size_t begin = data.size();
    for (std::int64_t i = 0; i < spec.rows * spec.cols; ++i) {
      state = state * 1664525U + 1013904223U;
      const float value = (static_cast<float>(state >> 8) * 0x1p-24F - 0.5F) * 0.1F;
      const std::uint16_t bits = kernels::Bf16FromF32(value);
      data.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
    }
    json shape = {spec.rows};
    if (!spec.is_vector) shape.push_back(spec.cols);
    header[spec.name] = {
        {"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  }
  WriteFile(dir / "model.safetensors", Safetensors(header, data));
}

struct Compared {
  double error = 0;
  double magnitude = 0;
  std::int64_t matrices = 0;
};

// What our own reader makes of the result, beside the original.
Compared Compare(const fs::path& from, const fs::path& to) {
  const Loaded before = Load(from);
  Loaded after = Load(to);
  Compared compared;
  ForEachMatrix(after.plan, [&](PlannedTensor& tensor) {
    TensorSpec plain = tensor.spec;
    plain.encoding = kernels::Encoding::kBf16;
    const std::vector<float> was = Values(*before.weights, plain);
    const std::vector<float> is = Values(*after.weights, tensor.spec);
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
  WriteWideModel(dir.path() / "in");
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

TEST(RequantizeTest, AwqTakesTheGroupThatWidthsAllow) {
  const TempDir dir;
  const auto loss = Requantize(ModelDir("llama"), dir.path() / "out", RequantizedAs::kAwqGemm);
  ASSERT_TRUE(loss.ok()) << loss.status();
  const json config = json::parse(ReadFile(dir.path() / "out" / "config.json"));
  EXPECT_EQ(config["quantization_config"]["group_size"], 32);
  EXPECT_EQ(Compare(ModelDir("llama"), dir.path() / "out").matrices, 14);
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
