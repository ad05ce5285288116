// A row that draws after several of its inputs gives what rows of one token each give, bit for bit.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/fakes/async_backend.h"
#include "tests/fakes/async_communicator.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/step_driver.h"
#include "worker/parallel/local_communicator.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int32_t kThinkEnd = 61;
constexpr std::int32_t kAlternatives = 3;

ModelOptions Options(int ranks) {
  ModelOptions options;
  options.model_dir = ModelDir("qwen2");
  options.device = "cpu";
  options.cpu_threads = ranks;
  options.tensor_parallel_size = ranks;
  options.max_model_len = 128;
  options.max_num_seqs = 8;
  options.max_num_batched_tokens = 64;
  options.max_in_flight = 1;
  return options;
}

// A model that replays rows of one token, and computes longer ones as they come.
std::unique_ptr<ModelRunner> LoadRecording(const ModelOptions& options) {
  const int ranks = options.tensor_parallel_size;
  auto communicators = parallel::OpenLocalCommunicators(
      std::make_shared<parallel::LocalGroup>(ranks), 0, ranks, ranks);
  EXPECT_TRUE(communicators.ok()) << communicators.status();
  Devices devices;
  for (auto& communicator : *communicators) {
    auto device = std::make_unique<kernels::AsyncBackend>(1, true);
    devices.communicators.push_back(
        std::make_unique<parallel::AsyncCommunicator>(std::move(communicator), *device));
    devices.backends.push_back(std::move(device));
  }
  auto runner = LoadModel(options, LocalPlans(options), std::move(devices));
  EXPECT_TRUE(runner.ok()) << runner.status();
  return runner.ok() ? *std::move(runner) : nullptr;
}

std::unique_ptr<ModelRunner> Load(const ModelOptions& options) {
  auto runner = LoadModel(options, LocalPlans(options));
  EXPECT_TRUE(runner.ok()) << runner.status();
  return runner.ok() ? *std::move(runner) : nullptr;
}

// Phases that draw differently, so that a draw in the wrong one shows.
step::SamplingParams Params() {
  step::SamplingParams params;
  params.phases[step::Phase::kReasoning].temperature = 3.0F;
  params.phases[step::Phase::kAnswer].temperature = 0;
  params.seed = 11;
  params.think_end_id = kThinkEnd;
  return params;
}

// What a sequence draws after each of `ids`, and then after the last of those draws: by one row if
// `at_once`, else by a row for each. Beside it another sequence decodes.
std::vector<Drawn> DrawAfter(step::Runner& runner, const std::vector<std::int32_t>& ids,
                             bool at_once) {
  StepDriver driver(runner);
  driver.Begin(5, Params());
  driver.Begin(2, Greedy());
  driver.Step({{5, {1, 2, 3, 4}, 0}, {2, {9, 8}}});
  std::vector<Drawn> drawn;
  const auto step = [&](const std::vector<std::int32_t>& inputs, std::int32_t draws,
                        step::Phase phase) {
    driver.Submit({{2, {}}, {5, inputs, draws, phase, kAlternatives}});
    const auto collected = driver.CollectDraws();
    drawn.insert(drawn.end(), collected.at(5).begin(), collected.at(5).end());
  };
  step::Phase phase = step::Phase::kReasoning;
  if (at_once) step(ids, static_cast<std::int32_t>(ids.size()), phase);
  for (const std::int32_t id : ids) {
    if (!at_once) step({id}, 1, phase);
    if (id == kThinkEnd) phase = step::Phase::kAnswer;
  }
  step({}, 1, phase);
  return drawn;
}

class SeveralDrawsTest : public testing::TestWithParam<std::tuple<int, bool>> {
 protected:
  void SetUp() override {
    const auto [ranks, records] = GetParam();
    runner_ = records ? LoadRecording(Options(ranks)) : Load(Options(ranks));
    ASSERT_NE(runner_, nullptr);
    again_ = records ? LoadRecording(Options(ranks)) : Load(Options(ranks));
    ASSERT_NE(again_, nullptr);
  }
  std::unique_ptr<ModelRunner> runner_;
  std::unique_ptr<ModelRunner> again_;
};

TEST_P(SeveralDrawsTest, ARowOfThreeDrawsGivesTheBitsOfThreeRows) {
  const std::vector<Drawn> expected = DrawAfter(*again_, {7, 50, 33}, false);
  ASSERT_EQ(expected.size(), 4U);
  EXPECT_EQ(DrawAfter(*runner_, {7, 50, 33}, true), expected);
}

TEST_P(SeveralDrawsTest, ThePhaseEndsWithinTheRow) {
  const std::vector<Drawn> expected = DrawAfter(*again_, {7, kThinkEnd, 33}, false);
  ASSERT_EQ(expected.size(), 4U);
  EXPECT_EQ(DrawAfter(*runner_, {7, kThinkEnd, 33}, true), expected);
}

INSTANTIATE_TEST_SUITE_P(Devices, SeveralDrawsTest,
                         testing::Combine(testing::Values(1, 2), testing::Bool()),
                         [](const auto& info) {
                           return "tp" + std::to_string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) ? "_recorded" : "_eager");
                         });

}  // namespace
}  // namespace thinkwire::worker::model
