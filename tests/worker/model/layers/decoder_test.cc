#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/model/model_files.h"
#include "tests/worker/model/step_driver.h"
#include "worker/kernels/devices.h"
#include "worker/model/checkpoint/checkpoint_weights.h"
#include "worker/model/layers/rope.h"
#include "worker/model/rank.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::model {
namespace {

// f32 against f32 in another order of addition; logits are up to about 10.
constexpr float kLogitTolerance = 2e-4F;

// One rank on this thread, whose logits the test can see.
class DecoderTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto config = LoadModelConfig(ModelDir(GetParam()));
    ASSERT_TRUE(config.ok()) << config.status();
    plan_ = MakePlan(*config);
    auto source = CheckpointWeights::Open(ModelDir(GetParam()), plan_);
    ASSERT_TRUE(source.ok()) << source.status();
    std::string error;
    backends_ = kernels::OpenDevices({"cpu", 1, 2}, &error);
    ASSERT_FALSE(backends_.empty()) << error;
    communicators_ = parallel::MakeSoloCommunicator(*backends_[0]);
    step::Limits limits;
    limits.max_num_seqs = 2;
    limits.max_num_batched_tokens = 64;
    limits.max_model_len = 128;
    limits.block_tokens = 16;
    limits.num_blocks = 16;
    limits.vocab_size = static_cast<std::int32_t>(plan_.config.vocab_size);
    rank_ = std::make_unique<Rank>(plan_, ShapeOfRank(plan_, 0, 1), limits, **source,
                                   RopeTable(plan_.config, limits.max_model_len), *backends_[0],
                                   *communicators_[0]);
  }

  std::vector<float> Logits(const step::Plan& plan) {
    const kernels::Tensor logits = rank_->Forward(plan);
    std::vector<float> host(static_cast<std::size_t>(logits.size()));
    backends_[0]->CopyToHost(host.data(), logits.data, logits.bytes());
    return host;
  }

  ModelPlan plan_;
  std::vector<std::unique_ptr<kernels::Backend>> backends_;
  std::vector<std::unique_ptr<parallel::Communicator>> communicators_;
  std::unique_ptr<Rank> rank_;
};

TEST_P(DecoderTest, LogitsMatchTransformersAtEachPosition) {
  const Expected expected = ReadExpected(GetParam());
  ASSERT_FALSE(expected.logits.empty());
  std::uint64_t step = 0;
  for (const auto& [position, logits] : expected.logits) {
    step::Plan plan;
    plan.step = ++step;
    plan.input_ids.assign(expected.prompt.begin(), expected.prompt.begin() + position + 1);
    plan.rows.push_back({0, 0, position + 1, 0, true});
    for (std::int32_t i = 0; i < 4; ++i) plan.block_table_changes.push_back({0, i, 9 - 2 * i});
    const std::vector<float> got = Logits(plan);
    ASSERT_EQ(got.size(), logits.size());
    float worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      worst = std::max(worst, std::fabs(got[i] - logits[i]));
    }
    EXPECT_LT(worst, kLogitTolerance) << "position " << position;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, DecoderTest,
                         testing::Values("qwen2", "qwen2-tied", "llama", "deepseek"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace thinkwire::worker::model
