#include "worker/engine/plan_builder.h"

#include <gtest/gtest.h>

#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

class PlanBuilderTest : public testing::Test {
 protected:
  Sequence& Make(const Request& request) {
    auto sequence = std::make_unique<Sequence>(1, request, 20, reader_.stream());
    sequence->Admit(3);
    sequence->AddBlock(*pool_.Allocate());
    sequence->AddBlock(*pool_.Allocate());
    return *sequences_.emplace_back(std::move(sequence));
  }

  const step::Limits limits_ = MakeLimits(2);
  BlockPool pool_{8};
  Reader reader_;
  std::vector<std::unique_ptr<Sequence>> sequences_;
};

TEST_F(PlanBuilderTest, TellsTheRunnerWhatItDoesNotKnowOnce) {
  Sequence& sequence = Make(MakeRequest(1, 5, 20));
  PlanBuilder first(limits_);
  EXPECT_TRUE(first.empty());
  first.AddRow(sequence, 3, 0);
  EXPECT_EQ(first.budget(), limits_.max_num_batched_tokens - 3);
  EXPECT_EQ(first.tokens(), 3);
  const step::Plan plan = first.TakePlan(7);
  EXPECT_EQ(plan.step, 7U);
  ASSERT_EQ(plan.block_table_changes.size(), 2U);
  EXPECT_EQ(plan.block_table_changes[1].slot, 3);
  EXPECT_EQ(plan.block_table_changes[1].index, 1);
  EXPECT_EQ(plan.sampling_changes.size(), 1U);

  PlanBuilder second(limits_);
  second.AddRow(sequence, 2, 1);
  const step::Plan next = second.TakePlan(8);
  EXPECT_TRUE(next.block_table_changes.empty());
  EXPECT_TRUE(next.sampling_changes.empty());
  EXPECT_EQ(next.rows[0].first_position, 3);
}

TEST_F(PlanBuilderTest, TheInputAfterADrawIsTheLastDrawnId) {
  Sequence& sequence = Make(MakeRequest(1, 5, 20));
  PlanBuilder builder(limits_);
  builder.AddRow(sequence, 5, 1);
  PlanBuilder ahead(limits_);
  ahead.AddRow(sequence, 1, 1);
  const step::Plan plan = ahead.TakePlan(2);
  EXPECT_EQ(plan.rows[0].first_id, step::kLastDrawn);
  EXPECT_EQ(plan.rows[0].first_position, 5);
  EXPECT_TRUE(plan.input_ids.empty());
}

TEST_F(PlanBuilderTest, ProposedIdsFollowTheKnownOnes) {
  const Request request = MakeRequest(1, 5, 20);
  Sequence& sequence = Make(request);
  sequence.Propose({11, 12});
  PlanBuilder builder(limits_);
  builder.AddRow(sequence, 7, 3);
  EXPECT_EQ(builder.TakeRows()[0].draws, 3);
  const step::Plan plan = builder.TakePlan(1);
  std::vector<std::int32_t> inputs = request.prompt_ids;
  inputs.insert(inputs.end(), {11, 12});
  EXPECT_EQ(plan.input_ids, inputs);
  EXPECT_EQ(plan.rows[0].count, 7);
  EXPECT_EQ(plan.rows[0].draws, 3);
  EXPECT_TRUE(sequence.proposed().empty());
}

TEST_F(PlanBuilderTest, RowsSayHowTheyDrawOnlyIfTheyDraw) {
  Request request = MakeRequest(1, 5, 20);
  request.logprobs = true;
  request.alternatives = 2;
  request.sampling.phases[step::Phase::kReasoning].presence_penalty = 1;
  Sequence& sequence = Make(request);
  PlanBuilder builder(limits_);
  builder.AddRow(sequence, 2, 0);
  builder.AddRow(sequence, 3, 1);
  const step::Plan plan = builder.TakePlan(1);
  EXPECT_FALSE(plan.rows[0].logprob || plan.rows[0].adjusted);
  EXPECT_EQ(plan.rows[0].alternatives, 0);
  EXPECT_TRUE(plan.rows[1].logprob && plan.rows[1].adjusted);
  EXPECT_EQ(plan.rows[1].alternatives, 2);
}

TEST_F(PlanBuilderTest, CountedIdsOfAllMustFit) {
  Request request = MakeRequest(1, 5, 20);
  request.sampling.phases[step::Phase::kReasoning].repetition_penalty = 1.5F;
  for (std::int32_t i = 0; i < 200; ++i) request.prompt_ids.push_back(50);
  Sequence& first = Make(request);
  Sequence& second = Make(request);
  PlanBuilder builder(limits_);
  EXPECT_TRUE(builder.MayTell(first));
  builder.AddRow(first, 2, 0);
  EXPECT_TRUE(builder.MayTell(first)) << "it is told";
  EXPECT_FALSE(builder.MayTell(second));
}

}  // namespace
}  // namespace thinkwire::worker::engine
