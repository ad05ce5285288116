#include "tests/bench/batch_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/clock.h"
#include "tests/bench/runner_probe.h"
#include "tests/fakes/fake_runner.h"
#include "worker/engine/engine.h"

namespace thinkwire::bench {
namespace {

using worker::engine::Engine;
using worker::engine::FakeModel;
using worker::engine::FakeRunner;
using worker::step::Limits;
using worker::step::Plan;
using worker::step::Row;

// Prompts of 16 tokens enter one a step, so that the first sequence is far ahead of the last.
constexpr BatchSpec kSpec = {.sequences = 6, .prompt_tokens = 16, .output_tokens = 20, .seed = 7};

Limits LimitsWith(std::int32_t num_blocks) {
  return {.max_num_seqs = 8,
          .max_num_batched_tokens = 16,
          .max_model_len = 64,
          .block_tokens = 4,
          .num_blocks = num_blocks,
          .max_in_flight = 2,
          .vocab_size = 100};
}

// The fewest blocks with which the batch is said to run.
Limits TightLimits() {
  std::int32_t num_blocks = 1;
  while (!CheckFits(kSpec, LimitsWith(num_blocks)).ok()) ++num_blocks;
  return LimitsWith(num_blocks);
}

absl::StatusOr<BatchTimes> RunOn(worker::step::Runner& runner) {
  Engine engine({}, runner, Clock::Real());
  return RunBatch(engine, runner.limits(), kSpec);
}

TEST(BatchRunTest, CountsEveryTokenAndTimesTheRest) {
  FakeRunner runner(TightLimits(), FakeModel(100));
  const auto times = RunOn(runner);
  ASSERT_TRUE(times.ok()) << times.status();
  EXPECT_EQ(times->generated_tokens, 6 * 20);
  // Up to two more than the first wait for the last sequence's first.
  EXPECT_LE(times->decoded_tokens, 6 * 19);
  EXPECT_GE(times->decoded_tokens, 6 * 17);
  EXPECT_GT(times->prefill_seconds, 0);
  EXPECT_GT(times->decode_seconds, 0);
}

TEST(BatchRunTest, SequencesDecodeInStep) {
  FakeRunner runner(TightLimits(), FakeModel(100));
  ASSERT_TRUE(RunOn(runner).ok());
  const std::vector<Plan> plans = runner.plans();
  const auto full = std::count_if(plans.begin(), plans.end(), [](const Plan& plan) {
    return plan.rows.size() == 6 && std::all_of(plan.rows.begin(), plan.rows.end(),
                                                [](const Row& row) { return row.count == 1; });
  });
  EXPECT_GE(full, 20 - 3);
}

TEST(BatchRunTest, PromptsDiffer) {
  Limits limits = TightLimits();
  limits.max_num_batched_tokens = 128;  // so that none is read in pieces
  FakeRunner runner(limits, FakeModel(100));
  ASSERT_TRUE(RunOn(runner).ok());
  std::vector<std::vector<std::int32_t>> prompts;
  for (const Plan& plan : runner.plans()) {
    for (const Row& row : plan.rows) {
      if (row.count != 16) continue;
      const auto first = plan.input_ids.begin() + row.first_id;
      prompts.emplace_back(first, first + row.count);
    }
  }
  std::sort(prompts.begin(), prompts.end());
  prompts.erase(std::unique(prompts.begin(), prompts.end()), prompts.end());
  EXPECT_EQ(prompts.size(), 6U);
}

TEST(BatchRunTest, OneTokenEach) {
  FakeRunner runner(TightLimits(), FakeModel(100));
  Engine engine({}, runner, Clock::Real());
  BatchSpec spec = kSpec;
  spec.output_tokens = 1;
  const auto times = RunBatch(engine, runner.limits(), spec);
  ASSERT_TRUE(times.ok()) << times.status();
  EXPECT_EQ(times->generated_tokens, 6);
  EXPECT_EQ(times->decoded_tokens, 0);
}

// The seed that the batch's third sequence samples with.
std::uint64_t ThirdSeed() {
  FakeRunner runner(TightLimits(), FakeModel(100));
  EXPECT_TRUE(RunOn(runner).ok());
  std::vector<std::uint64_t> seeds;
  for (const Plan& plan : runner.plans()) {
    for (const auto& change : plan.sampling_changes) seeds.push_back(change.params.seed);
  }
  return seeds.at(2);
}

class BatchRunEndingTest : public testing::TestWithParam<std::int32_t> {};

TEST_P(BatchRunEndingTest, SaysWhatEndedTooEarly) {
  const std::int32_t drawn = GetParam();
  FakeModel model(100);
  model.ScriptNotFinite(ThirdSeed(), kSpec.prompt_tokens + drawn);
  FakeRunner runner(TightLimits(), model);
  const auto times = RunOn(runner);
  EXPECT_EQ(std::string(times.status().message()), "sequence 2 ended after " +
                                                       std::to_string(drawn) +
                                                       " of 20 tokens: the logits are not finite");
}

// Before the first token, while others are awaited, and later.
INSTANTIATE_TEST_SUITE_P(, BatchRunEndingTest, testing::Values(0, 1, 2, 9));

TEST(BatchRunTest, RefusesWhatDoesNotFitTogether) {
  const std::int32_t enough = TightLimits().num_blocks;
  const absl::Status status = CheckFits(kSpec, LimitsWith(enough - 1));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()),
            "6 sequences of 36 tokens need " + std::to_string(4 * enough) +
                " tokens of KV cache together; there are " + std::to_string(4 * (enough - 1)));
}

TEST(RunnerProbeTest, StampsEachStep) {
  FakeRunner runner(TightLimits(), FakeModel(100));
  RunnerProbe probe(runner);
  ASSERT_TRUE(RunOn(probe).ok());
  const std::vector<Plan> plans = runner.plans();
  const std::vector<StepStamp> steps = probe.TakeSteps();
  ASSERT_EQ(steps.size(), plans.size());
  EXPECT_TRUE(probe.TakeSteps().empty());
  EXPECT_FALSE(steps.front().step_seconds);  // nothing was running
  EXPECT_FALSE(steps.front().turn_seconds);
  std::size_t turns = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_EQ(steps[i].num_rows, static_cast<std::int32_t>(plans[i].rows.size()));
    if (steps[i].turn_seconds) ++turns;
  }
  EXPECT_GE(turns, 20U - 3U);
}

}  // namespace
}  // namespace thinkwire::bench
