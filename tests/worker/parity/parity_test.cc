// The decoder on a GPU at real shapes against transformers on the same weights. The references are
// made by make_reference.py and found by the environment variable THINKWIRE_PARITY.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "tests/worker/model/model_files.h"
#include "worker/kernels/devices.h"
#include "worker/model/checkpoint/checkpoint_weights.h"
#include "worker/model/layers/rope.h"
#include "worker/model/rank.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int32_t kFirstDecoded = 520;  // as in make_reference.py

std::vector<float> ReadFloats(const std::filesystem::path& path) {
  const std::string bytes = ReadFile(path);
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

double RmsOfDifference(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - double{b[i]}, 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

class ParityTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const char* root = std::getenv("THINKWIRE_PARITY");
    if (root == nullptr) GTEST_SKIP() << "no references: THINKWIRE_PARITY is not set";
    dir_ = std::filesystem::path(root) / GetParam();
    std::string error;
    backends_ = kernels::OpenDevices({"cuda", 1, 0}, &error);
    if (backends_.empty()) GTEST_SKIP() << error;
    const auto config = LoadModelConfig(dir_);
    ASSERT_TRUE(config.ok()) << config.status();
    plan_ = MakePlan(*config);
    const auto source = CheckpointWeights::Open(dir_, plan_);
    ASSERT_TRUE(source.ok()) << source.status();
    const nlohmann::json reference = nlohmann::json::parse(ReadFile(dir_ / "reference.json"));
    prompt_ = reference["prompt"].get<std::vector<std::int32_t>>();
    positions_ = reference["positions"].get<std::vector<std::int32_t>>();
    step::Limits limits;
    limits.max_num_seqs = 4;
    limits.max_num_batched_tokens = 1024;
    limits.max_model_len = 1024;
    limits.block_tokens = 16;
    limits.num_blocks = 128;
    limits.vocab_size = static_cast<std::int32_t>(plan_.config.vocab_size);
    communicator_ = std::make_unique<parallel::SoloCommunicator>(*backends_[0]);
    rank_ = std::make_unique<Rank>(plan_, ShapeOfRank(plan_, 0, 1), limits, **source,
                                   RopeTable(plan_.config, limits.max_model_len), *backends_[0],
                                   *communicator_);
  }

  // The logits after position `last`, with `first` .. `last` as the step's input.
  std::vector<float> Logits(std::int32_t first, std::int32_t last) {
    step::Plan plan;
    plan.step = ++step_;
    plan.input_ids.assign(prompt_.begin() + first, prompt_.begin() + last + 1);
    plan.rows.push_back({0, first, last + 1 - first, 0, true});
    for (std::int32_t i = 0; i < 64; ++i) plan.block_table_changes.push_back({0, i, 127 - i});
    const kernels::Tensor logits = rank_->Forward(plan);
    std::vector<float> host(static_cast<std::size_t>(logits.size()));
    backends_[0]->CopyToHost(host.data(), logits.data, logits.bytes());
    return host;
  }

  // At every position of the reference.
  std::vector<float> AllLogits() {
    std::vector<float> all;
    for (const std::int32_t position : positions_) {
      if (position < kFirstDecoded) {
        const std::vector<float> logits = Logits(0, position);
        all.insert(all.end(), logits.begin(), logits.end());
      }
    }
    Logits(0, kFirstDecoded - 1);
    for (std::int32_t at = kFirstDecoded; at <= positions_.back(); ++at) {
      const std::vector<float> logits = Logits(at, at);
      if (std::ranges::find(positions_, at) == positions_.end()) continue;
      all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
  }

  std::filesystem::path dir_;
  ModelPlan plan_;
  std::vector<std::int32_t> prompt_;
  std::vector<std::int32_t> positions_;
  std::vector<std::unique_ptr<kernels::Backend>> backends_;
  std::unique_ptr<parallel::SoloCommunicator> communicator_;
  std::unique_ptr<Rank> rank_;
  std::uint64_t step_ = 0;
};

// Both round to bfloat16 in about the same places, so both are about as far from float32.
TEST_P(ParityTest, IsAsCloseToFloat32AsTransformersInBfloat16) {
  constexpr double kAllowed = 1.1;  // of transformers' error
  const std::vector<float> got = AllLogits();
  const std::vector<float> in_float32 = ReadFloats(dir_ / "float32.bin");
  const std::vector<float> in_bfloat16 = ReadFloats(dir_ / "bfloat16.bin");
  ASSERT_EQ(got.size(), in_float32.size());
  ASSERT_EQ(got.size(), in_bfloat16.size());
  const double ours = RmsOfDifference(got, in_float32);
  const double theirs = RmsOfDifference(in_bfloat16, in_float32);
  std::printf("%s: rms error of the logits %.4f, of transformers in bfloat16 %.4f\n", GetParam(),
              ours, theirs);
  EXPECT_LE(ours, kAllowed * theirs);
  const auto vocab = static_cast<std::size_t>(plan_.config.vocab_size);
  for (std::size_t p = 0; p < positions_.size(); ++p) {
    const auto at = [&](const std::vector<float>& all) {
      return std::span(all).subspan(p * vocab, vocab);
    };
    const double error = RmsOfDifference(at(got), at(in_float32));
    const double reference = RmsOfDifference(at(in_bfloat16), at(in_float32));
    std::printf("  position %3d: %.4f and %.4f\n", positions_[p], error, reference);
    EXPECT_LE(error, 1.5 * reference) << "position " << positions_[p];
  }
}

INSTANTIATE_TEST_SUITE_P(Models, ParityTest, testing::Values("qwen-1.5b", "llama-8b"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase_if(name, [](char c) { return c == '-' || c == '.'; });
                           return name;
                         });

}  // namespace
}  // namespace thinkwire::worker::model
