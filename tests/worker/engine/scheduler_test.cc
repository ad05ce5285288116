#include "worker/engine/scheduler.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/worker/engine/stepper.h"

namespace thinkwire::worker::engine {
namespace {

using Rows = std::vector<std::pair<std::int32_t, std::int32_t>>;

// By D, the plans in flight.
class SchedulerTest : public testing::TestWithParam<std::int32_t> {
 protected:
  step::Limits limits_ = MakeLimits(GetParam());

  bool ahead() const { return GetParam() == 2; }
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerTest, SequenceDrawsWhatItDrawsAlone) {
  Stepper stepper(limits_);
  Reader reader;
  Request request = MakeRequest(1, 10, 50);
  request.logprobs = true;
  stepper.Add(request, reader);
  stepper.RunDry();
  reader.Take();
  ExpectTokens(reader.tokens(), Alone(stepper.model(), request, 50), true);
  ASSERT_TRUE(reader.ending());
  EXPECT_EQ(reader.ending()->reason, EndReason::kLength);
  EXPECT_EQ(reader.ending()->generated_tokens, 50);
  EXPECT_TRUE(reader.started());
  stepper.ExpectIdle();
}

TEST_P(SchedulerTest, PromptIsChunkedToTheBudget) {
  limits_.max_num_batched_tokens = 7;
  Stepper stepper(limits_);
  Reader reader;
  stepper.Add(MakeRequest(1, 17, 2), reader);
  stepper.RunDry();
  const std::vector<step::Plan> plans = stepper.runner().plans();
  ASSERT_EQ(plans.size(), 4U);
  EXPECT_EQ(plans[0].rows[0].count, 7);
  EXPECT_EQ(plans[1].rows[0].count, 7);
  EXPECT_EQ(plans[2].rows[0].count, 3);
  EXPECT_EQ(plans[1].rows[0].draws, 0);
  EXPECT_EQ(plans[2].rows[0].draws, 1);
  EXPECT_EQ(plans[3].rows[0].count, 1);
}

TEST_P(SchedulerTest, AnyBudgetGivesTheSameTokens) {
  const Request request = MakeRequest(9, 33, 20);
  for (const std::int32_t budget : {1, 2, 7, 64}) {
    limits_.max_num_batched_tokens = budget;
    Stepper stepper(limits_);
    Reader reader;
    stepper.Add(request, reader);
    stepper.RunDry();
    reader.Take();
    ExpectTokens(reader.tokens(), Alone(stepper.model(), request, 20), true);
  }
}

TEST_P(SchedulerTest, DecodesComeBeforePromptsAndShareTheBudget) {
  limits_.max_num_batched_tokens = 8;
  Stepper stepper(limits_);
  Reader first;
  Reader second;
  stepper.Add(MakeRequest(1, 4, 20), first);
  stepper.Turn();
  stepper.Turn();
  stepper.Add(MakeRequest(2, 20, 20), second);
  stepper.Turn();
  EXPECT_EQ(stepper.LastRows(), (Rows{{0, 1}, {1, 7}}));
}

TEST_P(SchedulerTest, AdmitsInOrderOfArrivalWhileThereAreSlots) {
  limits_.max_num_seqs = 2;
  Stepper stepper(limits_);
  std::vector<Reader> readers(4);
  for (std::size_t i = 0; i < 4; ++i) stepper.Add(MakeRequest(i, 4, 3), readers[i]);
  stepper.Turn();
  EXPECT_EQ(stepper.scheduler().queued(), 2);
  for (Reader& reader : readers) reader.Take();
  EXPECT_TRUE(readers[1].started());
  EXPECT_EQ(readers[1].queue_positions(), std::vector<std::int32_t>{});
  EXPECT_FALSE(readers[2].started());
  EXPECT_EQ(readers[2].queue_positions(), (std::vector<std::int32_t>{0}));
  EXPECT_EQ(readers[3].queue_positions(), (std::vector<std::int32_t>{1}));
  stepper.RunDry();
  for (Reader& reader : readers) {
    reader.Take();
    EXPECT_TRUE(reader.ending());
  }
  stepper.ExpectIdle();
}

TEST_P(SchedulerTest, RunsAheadWithTheLastDrawnId) {
  Stepper stepper(limits_);
  Reader reader;
  stepper.Add(MakeRequest(1, 4, 20), reader);
  while (stepper.Submit()) {
  }
  const std::vector<step::Plan> plans = stepper.runner().plans();
  ASSERT_EQ(plans.size(), static_cast<std::size_t>(GetParam()));
  if (ahead()) {
    EXPECT_EQ(plans[1].rows[0].first_id, step::kLastDrawn);
    EXPECT_TRUE(plans[1].input_ids.empty());
  }
}

TEST_P(SchedulerTest, PhasesFollowThinkEndAcrossRunAhead) {
  FakeModel model(kVocab);
  model.Script(1, 14, kThinkEnd);
  model.Script(1, 18, kThinkEnd);
  Stepper stepper(limits_, model);
  Reader reader;
  const Request request = MakeRequest(1, 10, 12);
  stepper.Add(request, reader);
  stepper.RunDry();
  reader.Take();
  ExpectTokens(reader.tokens(), Alone(model, request, 12), true);
  ASSERT_EQ(reader.tokens().size(), 12U);
  EXPECT_EQ(reader.tokens()[4].phase, step::Phase::kReasoning);
  EXPECT_EQ(reader.tokens()[5].phase, step::Phase::kAnswer);
  EXPECT_EQ(reader.tokens()[8].phase, step::Phase::kAnswer);
}

TEST_P(SchedulerTest, PenaltiesCountPromptAndPhaseThroughPreemption) {
  limits_.num_blocks = 13;
  FakeModel model(kVocab);
  model.Script(2, 12, kThinkEnd);
  Stepper stepper(limits_, model);
  std::vector<Reader> readers(3);
  std::vector<Request> requests;
  for (std::size_t i = 0; i < 3; ++i) {
    requests.push_back(MakeRequest(i, 4, 20));
    for (step::PhaseSampling& phase : requests[i].sampling.phases) {
      phase.frequency_penalty = 0.5F;
      if (i > 0) phase.repetition_penalty = 1.5F;
    }
    stepper.Add(requests[i], readers[i]);
  }
  stepper.RunDry();
  for (std::size_t i = 0; i < 3; ++i) {
    readers[i].Take();
    ExpectTokens(readers[i].tokens(), Alone(model, requests[i], 20), true);
  }
  EXPECT_GE(readers[2].ending()->preemptions, 1);
}

TEST_P(SchedulerTest, WhatIsCountedAndBiasedIsToldInPlansOfBoundedSize) {
  limits_.max_num_batched_tokens = 800;
  Stepper stepper(limits_);
  std::vector<Reader> readers(4);
  std::vector<Request> requests;
  for (std::size_t i = 0; i < 4; ++i) {
    requests.push_back(MakeRequest(i, 120, 4));
    for (step::PhaseSampling& phase : requests[i].sampling.phases) {
      phase.repetition_penalty = 1.5F;
    }
    for (std::vector<step::LogitBias>& biases : requests[i].logit_bias) {
      for (std::int32_t id = 0; id < 1000; ++id) biases.push_back({id, 1});
    }
    stepper.Add(requests[i], readers[i]);
  }
  stepper.RunDry();
  std::size_t told = 0;
  for (const step::Plan& plan : stepper.runner().plans()) {
    EXPECT_LE(plan.sampling_changes.size(), 2U);
    told += plan.sampling_changes.size();
  }
  EXPECT_EQ(told, 4U);
  for (std::size_t i = 0; i < 4; ++i) {
    readers[i].Take();
    ExpectTokens(readers[i].tokens(), Alone(stepper.model(), requests[i], 4), true);
  }
}

TEST_P(SchedulerTest, NoStepIsPlannedBeyondMaxTokens) {
  Stepper stepper(limits_);
  Reader reader;
  stepper.Add(MakeRequest(1, 10, 6), reader);
  stepper.RunDry();
  EXPECT_EQ(stepper.runner().submitted(), 6U);
}

TEST_P(SchedulerTest, ContextCanBeFilledToTheLastToken) {
  Stepper stepper(limits_);
  Reader reader;
  Request request = MakeRequest(1, 250, 1);
  request.max_tokens.reset();
  stepper.Add(request, reader);
  stepper.RunDry();
  reader.Take();
  EXPECT_EQ(reader.tokens().size(), 6U);
  EXPECT_EQ(reader.ending()->reason, EndReason::kLength);
}

TEST_P(SchedulerTest, BlocksStayUntilTheLastStepThatNamesThemIsCollected) {
  Stepper stepper(limits_);
  Reader reader;
  const RequestHandle handle = stepper.Add(MakeRequest(1, 10, 50), reader);
  while (stepper.Submit()) {
  }
  stepper.scheduler().End(handle, EndReason::kCancelled);
  reader.Take();
  ASSERT_TRUE(reader.ending());
  EXPECT_EQ(reader.ending()->reason, EndReason::kCancelled);
  for (std::int32_t left = GetParam(); left > 0; --left) {
    EXPECT_GT(stepper.scheduler().pool().referenced(), 0);
    EXPECT_EQ(stepper.scheduler().running(), 1);
    stepper.Collect();
  }
  stepper.ExpectIdle();
}

TEST_P(SchedulerTest, SlotIsNotReusedWhileAStepInFlightNamesIt) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  Reader first;
  Reader second;
  const RequestHandle handle = stepper.Add(MakeRequest(1, 10, 50), first);
  stepper.Submit();
  const Request request = MakeRequest(2, 10, 5);
  stepper.Add(request, second);
  stepper.scheduler().End(handle, EndReason::kCancelled);
  EXPECT_FALSE(stepper.Submit());
  stepper.RunDry();
  second.Take();
  ExpectTokens(second.tokens(), Alone(stepper.model(), request, 5), true);
}

TEST_P(SchedulerTest, PreemptsYoungestWhenBlocksRunOut) {
  limits_.num_blocks = 13;  // two sequences need 12 at their ends
  Stepper stepper(limits_);
  std::vector<Reader> readers(3);
  std::vector<Request> requests;
  for (std::size_t i = 0; i < 3; ++i) {
    requests.push_back(MakeRequest(i, 4, 20));
    stepper.Add(requests[i], readers[i]);
  }
  stepper.RunDry();
  for (std::size_t i = 0; i < 3; ++i) {
    readers[i].Take();
    ExpectTokens(readers[i].tokens(), Alone(stepper.model(), requests[i], 20), true);
  }
  EXPECT_EQ(readers[0].ending()->preemptions, 0);
  EXPECT_EQ(readers[1].ending()->preemptions, 0);
  EXPECT_GE(readers[2].ending()->preemptions, 1);
  EXPECT_EQ(stepper.scheduler().preemptions(),
            static_cast<std::uint64_t>(readers[2].ending()->preemptions));
  // Each input was computed once, but for the last id drawn, which is none, and what was lost.
  std::uint64_t inputs = 0;
  for (const step::Plan& plan : stepper.runner().plans()) {
    for (const step::Row& row : plan.rows) inputs += static_cast<std::uint64_t>(row.count);
  }
  EXPECT_GT(stepper.scheduler().recomputed_tokens(), 0U);
  EXPECT_EQ(inputs, 3 * (4 + 19) + stepper.scheduler().recomputed_tokens());
  stepper.ExpectIdle();
}

TEST_P(SchedulerTest, PreemptedGoesToTheFrontOfTheQueue) {
  limits_.num_blocks = 6;
  limits_.max_num_seqs = 2;
  Stepper stepper(limits_);
  std::vector<Reader> readers(3);
  for (std::size_t i = 0; i < 3; ++i) stepper.Add(MakeRequest(i, 4, 20), readers[i]);
  while (stepper.scheduler().preemptions() == 0) ASSERT_TRUE(stepper.Turn());
  stepper.RunDry();
  // The third began only when the second, preempted before, had its slot again or had ended.
  std::vector<std::uint64_t> order;
  for (const step::Plan& plan : stepper.runner().plans()) {
    for (const step::SamplingChange& change : plan.sampling_changes)
      order.push_back(change.params.seed);
  }
  ASSERT_GE(order.size(), 4U);
  order.resize(4);
  EXPECT_EQ(order, (std::vector<std::uint64_t>{0, 1, 1, 2}));
  stepper.ExpectIdle();
}

TEST_P(SchedulerTest, TellsThePreemptedWhyTheyAreSilent) {
  limits_.num_blocks = 8;
  limits_.max_num_batched_tokens = 4;  // what was lost is computed again in several steps
  Stepper stepper(limits_, FakeModel(kVocab), false);
  std::vector<Reader> readers(2);
  stepper.Add(MakeRequest(1, 4, 28), readers[0]);
  Request request = MakeRequest(2, 4, 28);
  request.tells_silence = true;
  stepper.Add(request, readers[1]);
  while (stepper.scheduler().preemptions() == 0) ASSERT_TRUE(stepper.Turn());
  std::set<SilenceReason> reasons;
  do {
    const std::optional<Silence> silence = readers[1].stream()->silence();
    if (!silence) continue;
    reasons.insert(silence->reason);
    EXPECT_GT(silence->total, 4) << "prompt and what it has drawn";
  } while (stepper.Turn());
  EXPECT_EQ(reasons, (std::set{SilenceReason::kRecompute, SilenceReason::kWaiting}));
  EXPECT_EQ(readers[1].stream()->silence(), std::nullopt);
}

TEST_P(SchedulerTest, DeadlineEndsQueuedAndRunning) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  Reader running;
  Reader queued;
  Request request = MakeRequest(1, 4, 100);
  request.deadline = stepper.clock().Now() + std::chrono::seconds(5);
  stepper.Add(request, running);
  request.deadline = stepper.clock().Now() + std::chrono::seconds(3);
  stepper.Add(request, queued);
  ASSERT_TRUE(stepper.Turn());
  EXPECT_EQ(stepper.scheduler().NextExpiry(), request.deadline);
  stepper.clock().Advance(std::chrono::seconds(3));
  ASSERT_TRUE(stepper.Turn());
  queued.Take();
  ASSERT_TRUE(queued.ending());
  EXPECT_EQ(queued.ending()->reason, EndReason::kDeadline);
  EXPECT_FALSE(queued.started());
  EXPECT_EQ(stepper.scheduler().running(), 1);
  stepper.clock().Advance(std::chrono::seconds(2));
  stepper.RunDry();
  running.Take();
  EXPECT_EQ(running.ending()->reason, EndReason::kDeadline);
  EXPECT_EQ(running.ending()->generated_tokens, 2);
  EXPECT_FALSE(stepper.scheduler().NextExpiry());
  stepper.ExpectIdle();
}

TEST_P(SchedulerTest, NotFiniteEndsThatSequenceAlone) {
  FakeModel model(kVocab);
  model.ScriptNotFinite(1, 7);
  Stepper stepper(limits_, model);
  Reader broken;
  Reader mate;
  stepper.Add(MakeRequest(1, 4, 20), broken);
  const Request request = MakeRequest(2, 4, 20);
  stepper.Add(request, mate);
  stepper.RunDry();
  broken.Take();
  mate.Take();
  EXPECT_EQ(broken.ending()->reason, EndReason::kNotFinite);
  EXPECT_EQ(broken.ending()->generated_tokens, 3);
  EXPECT_EQ(broken.tokens().size(), 3U);
  ExpectTokens(mate.tokens(), Alone(model, request, 20), true);
}

TEST_P(SchedulerTest, MoreSequencesThanBudgetAllEnd) {
  limits_.max_num_batched_tokens = 2;
  Stepper stepper(limits_);
  std::vector<Reader> readers(8);
  for (std::size_t i = 0; i < 8; ++i) stepper.Add(MakeRequest(i, 5, 5), readers[i]);
  stepper.RunDry();
  for (Reader& reader : readers) {
    reader.Take();
    EXPECT_EQ(reader.tokens().size(), 5U);
  }
  stepper.ExpectIdle();
}

TEST_P(SchedulerTest, PromptThatEndsThinkingDrawsTheAnswer) {
  Stepper stepper(limits_);
  Reader reader;
  Request request = MakeRequest(1, 6, 5);
  request.prompt_ids.back() = kThinkEnd;
  stepper.Add(request, reader);
  stepper.RunDry();
  reader.Take();
  request.start_phase = step::Phase::kAnswer;
  ExpectTokens(reader.tokens(), Alone(stepper.model(), request, 5), true);
}

TEST_P(SchedulerTest, EndAllLeavesNothing) {
  limits_.max_num_seqs = 2;
  Stepper stepper(limits_);
  std::vector<Reader> readers(5);
  for (std::size_t i = 0; i < 5; ++i) stepper.Add(MakeRequest(i, 5, 50), readers[i]);
  stepper.Turn();
  stepper.scheduler().EndAll(EndReason::kShutdown);
  stepper.RunDry();
  for (Reader& reader : readers) {
    reader.Take();
    ASSERT_TRUE(reader.ending());
    EXPECT_EQ(reader.ending()->reason, EndReason::kShutdown);
  }
  stepper.ExpectIdle();
}

}  // namespace
}  // namespace thinkwire::worker::engine
