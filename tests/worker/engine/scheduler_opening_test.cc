// Scheduler: outputs of which the model decides whether they begin with reasoning.
#include <gtest/gtest.h>

#include "tests/worker/engine/stepper.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

constexpr std::int32_t kPrompt = 10;  // tokens
constexpr std::uint64_t kSeed = 1;

// By D, the plans in flight.
class SchedulerOpeningTest : public testing::TestWithParam<std::int32_t> {
 protected:
  // Runs `request` on a model that draws `ids` first; what came is what is defined.
  std::vector<Token> Run(const Request& request, const std::vector<std::int32_t>& ids) {
    FakeModel model(kVocab);
    std::int32_t position = kPrompt;
    for (const std::int32_t id : ids) model.Script(kSeed, position++, id);
    Stepper stepper(MakeLimits(GetParam()), model);
    Reader reader(1 << 10);
    stepper.Add(request, reader);
    stepper.RunDry();
    reader.Take();
    ExpectTokens(reader.tokens(), Alone(model, request, *request.max_tokens), true);
    for (const step::Plan& plan : stepper.runner().plans()) {
      for (const step::Row& row : plan.rows) phases_.push_back(row.phase);
    }
    stepper.ExpectIdle();
    return reader.tokens();
  }

  std::vector<step::Phase> phases_;  // of the rows, in order
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerOpeningTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerOpeningTest, DrawnThinkBeginOpensTheReasoning) {
  const auto tokens = Run(MakeOpenRequest(kSeed, kPrompt, 20), {kThink, 50, 51, kThinkEnd, 52});
  EXPECT_EQ(tokens[0].mark, TokenMark::kOpensReasoning);
  EXPECT_EQ(tokens[0].phase, step::Phase::kReasoning);
  EXPECT_EQ(tokens[3].mark, TokenMark::kClosesReasoning);
  EXPECT_EQ(tokens[4].phase, step::Phase::kAnswer);
  // What may be reasoning is drawn as such.
  EXPECT_EQ(phases_[0], step::Phase::kReasoning);
  EXPECT_EQ(phases_[1], step::Phase::kReasoning);
}

TEST_P(SchedulerOpeningTest, WhiteSpaceMayComeBefore) {
  const auto tokens = Run(MakeOpenRequest(kSeed, kPrompt, 20), {kBlank, kBlank, kThink, 50});
  EXPECT_EQ(tokens[0].mark, TokenMark::kUndecided);
  EXPECT_EQ(tokens[2].mark, TokenMark::kOpensReasoning);
  EXPECT_EQ(tokens[3].phase, step::Phase::kReasoning);
}

TEST_P(SchedulerOpeningTest, AnythingElseIsTheAnswer) {
  const auto tokens = Run(MakeOpenRequest(kSeed, kPrompt, 20), {kBlank, 50, kThink, kThinkEnd, 51});
  EXPECT_EQ(tokens[0].mark, TokenMark::kUndecided);
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    EXPECT_EQ(tokens[i].phase, step::Phase::kAnswer);
    EXPECT_EQ(tokens[i].mark, TokenMark::kText);
  }
}

TEST_P(SchedulerOpeningTest, WhatIsUndecidedIsDrawnAsReasoning) {
  Run(MakeOpenRequest(kSeed, kPrompt, 6), {kBlank, kBlank, 50, 51});
  ASSERT_GE(phases_.size(), 4U);
  for (const int row : {0, 1, 2})
    EXPECT_EQ(phases_[static_cast<std::size_t>(row)], step::Phase::kReasoning);
  EXPECT_EQ(phases_[3], step::Phase::kAnswer) << "50 has decided";
}

TEST_P(SchedulerOpeningTest, PenaltiesCountPhaseByPhase) {
  Request request = MakeOpenRequest(kSeed, kPrompt, 30);
  for (step::PhaseSampling& phase : request.sampling.phases) {
    phase.repetition_penalty = 1.5F;
    phase.frequency_penalty = 0.5F;
  }
  Run(request, {kBlank, kThink, 50, kBlank, kThinkEnd, kBlank, 50});
  Run(request, {kBlank, kBlank, 50, 50});
}

TEST_P(SchedulerOpeningTest, TheOutputMayEndUndecided) {
  EXPECT_EQ(Run(MakeOpenRequest(kSeed, kPrompt, 2), {kBlank, kBlank}).size(), 2U);
  EXPECT_EQ(Run(MakeOpenRequest(kSeed, kPrompt, 9), {kEos}).size(), 1U);
  Request request = MakeOpenRequest(kSeed, kPrompt, 9);
  request.stop_ids[step::Phase::kReasoning] = {kThink};
  request.stop_ids[step::Phase::kAnswer] = {kBlank};
  EXPECT_EQ(Run(request, {kBlank, kThink}).size(), 1U);
  EXPECT_EQ(Run(request, {kThink, 50}).size(), 1U);
}

TEST_P(SchedulerOpeningTest, WhatWasTakenBackIsDecidedAnew) {
  FakeModel model(kVocab);
  std::int32_t position = kPrompt;
  for (const std::int32_t id : {kBlank, kThink, 50, kThinkEnd, 51}) {
    model.Script(kSeed, position++, id);
  }
  const Request request = MakeOpenRequest(kSeed, kPrompt, 30);
  for (const std::int32_t generated : {0, 1, 2, 3, 4, 8}) {
    SCOPED_TRACE(generated);
    Stepper stepper(MakeLimits(GetParam()), model);
    stepper.runner().AllowGoingBack();
    Reader reader(1 << 10);
    const RequestHandle handle = stepper.Add(request, reader);
    for (reader.Take(); reader.tokens().size() < 9; reader.Take()) stepper.Turn();
    const std::size_t given = reader.tokens().size();
    stepper.scheduler().Rewind(handle, kPrompt + generated);
    stepper.RunDry();
    reader.Take();
    // What is drawn anew is the same again.
    const Output expected = Alone(model, request, *request.max_tokens);
    const std::vector<Token> again(reader.tokens().begin() + static_cast<std::ptrdiff_t>(given),
                                   reader.tokens().end());
    Output rest;
    rest.tokens.assign(expected.tokens.begin() + generated, expected.tokens.end());
    ExpectTokens(again, rest, true);
  }
}

}  // namespace
}  // namespace thinkwire::worker::engine
