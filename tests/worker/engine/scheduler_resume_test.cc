// Scheduler: outputs whose first ids another worker has drawn.
#include <gtest/gtest.h>

#include <vector>

#include "tests/worker/engine/stepper.h"

namespace thinkwire::worker::engine {
namespace {

class SchedulerResumeTest : public testing::TestWithParam<std::int32_t> {
 protected:
  // `request` from its ids after `drawn` on, as another scheduler would go on with it.
  static Request Resumed(Request request, const Output& alone, std::size_t drawn) {
    for (std::size_t i = 0; i < drawn; ++i) request.drawn_ids.push_back(alone.tokens[i].id);
    return request;
  }

  static Output Rest(Output alone, std::size_t drawn) {
    alone.tokens.erase(alone.tokens.begin(), alone.tokens.begin() + static_cast<long>(drawn));
    return alone;
  }

  void TryEveryCut(const FakeModel& model, const Request& request) const {
    const Output alone = Alone(model, request, *request.max_tokens);
    for (std::size_t drawn = 0; drawn < alone.tokens.size(); ++drawn) {
      SCOPED_TRACE(testing::Message() << "after " << drawn << " of " << alone.tokens.size());
      Stepper stepper(MakeLimits(GetParam()), model);
      Reader reader;
      stepper.Add(Resumed(request, alone, drawn), reader);
      stepper.RunDry();
      reader.Take();
      ExpectTokens(reader.tokens(), Rest(alone, drawn), true);
      ASSERT_TRUE(reader.ending());
      EXPECT_EQ(reader.ending()->reason, alone.reason);
      EXPECT_EQ(reader.ending()->generated_tokens, static_cast<std::int32_t>(alone.tokens.size()));
      stepper.ExpectIdle();
    }
  }
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerResumeTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerResumeTest, PhasesPenaltiesAndEndsGoOn) {
  FakeModel model(kVocab);
  model.Script(1, 12, kThinkEnd);
  model.Script(1, 25, kEos);
  Request request = MakeRequest(1, 6, 40);
  request.logprobs = true;
  request.alternatives = 3;
  for (step::PhaseSampling& phase : request.sampling.phases) {
    phase.repetition_penalty = 1.2F;
    phase.frequency_penalty = 0.5F;
  }
  request.logit_bias[step::Phase::kAnswer] = {{60, 3}};
  TryEveryCut(model, request);
}

TEST_P(SchedulerResumeTest, LengthAndStopIdsGoOn) {
  FakeModel model(kVocab);
  model.Script(2, 13, 77);
  TryEveryCut(model, MakeRequest(1, 6, 11));
  Request request = MakeRequest(2, 6, 11);
  request.stop_ids[step::Phase::kReasoning] = {77};
  TryEveryCut(model, request);
}

TEST_P(SchedulerResumeTest, AnOpeningGoesOn) {
  FakeModel model(kVocab);
  for (std::int32_t i = 0; i < 3; ++i) model.Script(1, 6 + i, kBlank);
  model.Script(1, 9, kThink);
  model.Script(1, 12, kThinkEnd);
  Request request = MakeOpenRequest(1, 6, 12);
  request.sampling.phases[step::Phase::kReasoning].presence_penalty = 0.5F;
  TryEveryCut(model, request);
}

TEST_P(SchedulerResumeTest, ItsBlocksAreSharedAndThePromptsAloneAreTold) {
  const FakeModel model(kVocab);
  Stepper stepper(MakeLimits(GetParam()), model);
  const Request request = MakeRequest(1, 10, 20);
  const Output alone = Alone(model, request, 20);
  Reader first;
  stepper.Add(request, first);
  stepper.RunDry();
  Reader second;
  stepper.Add(Resumed(request, alone, 13), second);
  stepper.RunDry();
  second.Take();
  ExpectTokens(second.tokens(), Rest(alone, 13), true);
  EXPECT_EQ(second.cached_prompt_tokens(), 10);
  EXPECT_EQ(stepper.scheduler().prefix_use().hit_tokens, 20U);  // of 23, the last one computed
}

TEST_P(SchedulerResumeTest, WhatLeavesNothingToDrawIsRefused) {
  const step::Limits limits = MakeLimits(GetParam());
  Request request = MakeRequest(1, 6, 3);
  request.drawn_ids = {50, 51};
  EXPECT_TRUE(CheckRequest(request, limits).ok());
  request.drawn_ids = {50, kVocab};
  EXPECT_FALSE(CheckRequest(request, limits).ok());
  request.drawn_ids = {50, 51, 52};
  EXPECT_FALSE(CheckRequest(request, limits).ok());
}

}  // namespace
}  // namespace thinkwire::worker::engine
