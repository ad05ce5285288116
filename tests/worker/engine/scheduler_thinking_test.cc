// Scheduler: outputs whose thinking has an end.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/worker/engine/stepper.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

constexpr std::int32_t kPrompt = 10;  // tokens
constexpr std::uint64_t kSeed = 5;

// By D, the plans in flight.
class SchedulerThinkingTest : public testing::TestWithParam<std::int32_t> {
 protected:
  static Request MakeThinkingRequest(std::int32_t max_tokens = 60) {
    Request request = MakeRequest(kSeed, kPrompt, max_tokens);
    request.thinking = MakeThinking();
    return request;
  }

  // Runs `request` to its end, which is what the definition says, and returns its tokens.
  std::vector<Token> Run(const Request& request) {
    Stepper stepper(MakeLimits(GetParam()), model_);
    stepper.runner().AllowGoingBack();
    Reader reader(1 << 16);
    stepper.Add(request, reader);
    stepper.RunDry();
    reader.Take();
    const Output expected = Alone(model_, request, *request.max_tokens);
    ExpectTokens(reader.tokens(), expected, true);
    EXPECT_EQ(reader.ending()->reason, expected.reason);
    stepper.ExpectIdle();
    plans_ = stepper.runner().plans();
    return reader.tokens();
  }

  static std::int64_t Reasoning(const std::vector<Token>& tokens) {
    return std::ranges::count(tokens, step::Phase::kReasoning, &Token::phase);
  }
  static std::int64_t Of(TokenOrigin origin, const std::vector<Token>& tokens) {
    return std::ranges::count(tokens, origin, &Token::origin);
  }

  FakeModel model_{kVocab};  // draws no think-end id by itself
  std::vector<step::Plan> plans_;
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerThinkingTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerThinkingTest, ABudgetIsExactToTheToken) {
  for (std::int32_t budget = 0; budget <= 12; ++budget) {
    SCOPED_TRACE(budget);
    Request request = MakeThinkingRequest();
    request.thinking.budget_tokens = budget;
    const std::vector<Token> tokens = Run(request);
    EXPECT_EQ(Reasoning(tokens), budget + 1);
    EXPECT_EQ(tokens[static_cast<std::size_t>(budget)].mark, TokenMark::kClosesReasoning);
    // The closing ids are there as a whole or not at all.
    EXPECT_EQ(Of(TokenOrigin::kBudget, tokens), budget < 3 ? 1 : 4);
    EXPECT_EQ(tokens.size(), 60U);
  }
}

TEST_P(SchedulerThinkingTest, ThinkingThatEndsByItselfIsLeftAlone) {
  model_.Script(kSeed, kPrompt + 20, kThinkEnd);  // after 20 tokens
  for (const std::int32_t spare : {-1, 0, 1, 2, 3, 4}) {
    SCOPED_TRACE(spare);
    Request request = MakeThinkingRequest();
    request.thinking.closing_ids.clear();
    request.thinking.budget_tokens = 20 + spare;
    const std::vector<Token> tokens = Run(request);
    EXPECT_EQ(Of(TokenOrigin::kBudget, tokens), spare <= 0 ? 1 : 0);
    EXPECT_EQ(Reasoning(tokens), std::min(20 + spare, 20) + 1);
  }
}

TEST_P(SchedulerThinkingTest, AnEndOfSequenceLeavesTheAnswerWhatIsKeptForIt) {
  for (const std::int32_t early : {0, 1}) {  // tokens before min_tokens
    SCOPED_TRACE(early);
    model_.Script(kSeed, kPrompt + 20, kEos);
    Request request = MakeThinkingRequest();
    request.thinking.min_answer_tokens = 1;
    request.thinking.min_tokens = 20 + early;
    const std::vector<Token> tokens = Run(request);
    EXPECT_EQ(Of(TokenOrigin::kContinued, tokens) > 0, early == 1);
    EXPECT_GT(std::ssize(tokens), Reasoning(tokens));
  }
}

TEST_P(SchedulerThinkingTest, AnEndOfSequenceEndsAllWhereNothingIsKept) {
  model_.Script(kSeed, kPrompt + 20, kEos);
  EXPECT_EQ(Run(MakeThinkingRequest()).size(), 21U);
  Request request = MakeThinkingRequest();
  request.thinking.min_answer_tokens = 1;
  request.thinking.ends_unanswered = true;
  EXPECT_EQ(Run(request).size(), 21U);
}

TEST_P(SchedulerThinkingTest, TheAnswerHasWhatIsKeptForIt) {
  for (const std::int32_t kept : {1, 7, 59, 60}) {
    SCOPED_TRACE(kept);
    Request request = MakeThinkingRequest();
    request.thinking.min_answer_tokens = kept;
    const std::vector<Token> tokens = Run(request);
    EXPECT_EQ(Reasoning(tokens), std::max(1, 60 - kept));
  }
}

TEST_P(SchedulerThinkingTest, TheNearerOfBudgetAndReserveCounts) {
  Request request = MakeThinkingRequest();
  request.thinking.budget_tokens = 20;
  request.thinking.min_answer_tokens = 30;
  EXPECT_EQ(Reasoning(Run(request)), 21);
  request.thinking.min_answer_tokens = 45;
  EXPECT_EQ(Reasoning(Run(request)), 15);
}

TEST_P(SchedulerThinkingTest, WhatIsForcedIsOneRow) {
  Request request = MakeThinkingRequest();
  request.thinking.budget_tokens = 20;
  Run(request);
  int rows = 0;
  for (const step::Plan& plan : plans_) {
    rows += static_cast<int>(std::ranges::count_if(plan.rows, [](const step::Row& row) {
      return row.first_position > kPrompt && row.count > 1;
    }));
  }
  EXPECT_EQ(rows, 1);
}

TEST_P(SchedulerThinkingTest, ABudgetLandsAtTheEndOfASentence) {
  Request request = MakeThinkingRequest();
  request.thinking.budget_tokens = 50;
  request.thinking.landing_share = 0.8F;
  const std::vector<Token> tokens = Run(request);
  EXPECT_LT(Reasoning(tokens), 40);
  EXPECT_EQ(Of(TokenOrigin::kBudget, tokens), 1);  // without the closing ids
}

TEST_P(SchedulerThinkingTest, AThinkEndThatComesTooEarlyIsReplaced) {
  for (const std::int32_t position : {0, 5, 6}) {
    model_.Script(kSeed, kPrompt + position, kThinkEnd);
  }
  model_.Script(kSeed, kPrompt + 15, kThinkEnd);
  Request request = MakeThinkingRequest();
  request.thinking.min_tokens = 10;
  const std::vector<Token> tokens = Run(request);
  EXPECT_EQ(Reasoning(tokens), 16);
  EXPECT_EQ(tokens[0].id, 23);
  EXPECT_EQ(tokens[1].id, 24);
  EXPECT_GE(Of(TokenOrigin::kContinued, tokens), 4);
}

TEST_P(SchedulerThinkingTest, WithoutContinuingIdsAThinkEndThatComesTooEarlyIsMasked) {
  for (const bool counts : {false, true}) {
    Request request = MakeThinkingRequest(30);
    request.thinking.continue_ids.clear();
    request.thinking.min_tokens = 10;
    request.logit_bias[step::Phase::kReasoning] = {{kThinkEnd, 5}, {50, 1}};
    if (counts) request.sampling.phases[step::Phase::kReasoning].frequency_penalty = 0.5F;
    Stepper stepper(MakeLimits(GetParam()), model_);
    Reader reader(1 << 16);
    stepper.Add(request, reader);
    stepper.RunDry();
    std::int32_t masked = 0;
    std::int32_t drawn = 0;
    bool masks = false;
    for (const step::Plan& plan : stepper.runner().plans()) {
      for (const step::SamplingChange& change : plan.sampling_changes) {
        ASSERT_EQ(change.params.num_biases(), 2);
        EXPECT_EQ(plan.biases[0].id, kThinkEnd);
        masks = plan.biases[0].bias < -1e20F;
        EXPECT_EQ(change.num_drawn, counts ? drawn : 0);
      }
      for (const step::Row& row : plan.rows) {
        masked += masks ? row.draws : 0;
        drawn += row.draws;
        EXPECT_TRUE(row.adjusted || row.draws == 0);
      }
    }
    EXPECT_EQ(masked, 10);
    EXPECT_EQ(drawn, 30);
  }
}

TEST_P(SchedulerThinkingTest, ALoopInTheReasoningIsClosedAndOneInTheAnswerEndsTheOutput) {
  for (std::int32_t i = 5; i < 300; ++i) model_.Script(kSeed, kPrompt + i, 30 + i % 3);
  Request request = MakeThinkingRequest(240);
  request.thinking.loops = {.max_repeats = 8, .max_period_tokens = 16};
  const std::vector<Token> tokens = Run(request);
  EXPECT_EQ(Reasoning(tokens), 5 + 64 + 4);
  EXPECT_EQ(Of(TokenOrigin::kLoop, tokens), 4);
  EXPECT_EQ(tokens.size(), 5U + 64 + 4 + 64);
}

// The tokens of `request` up to its end, which has `reason`.
std::vector<Token> RunUnanswered(Request request, FakeModel model, std::int32_t in_flight,
                                 EndReason reason) {
  request.thinking.ends_unanswered = true;
  Stepper stepper(MakeLimits(in_flight), std::move(model));
  stepper.runner().AllowGoingBack();
  Reader reader(1 << 16);
  stepper.Add(request, reader);
  stepper.RunDry();
  reader.Take();
  EXPECT_EQ(reader.ending()->reason, reason);
  stepper.ExpectIdle();
  return reader.tokens();
}

TEST_P(SchedulerThinkingTest, WithoutAnAnswerALoopInTheReasoningEndsTheOutput) {
  for (std::int32_t i = 5; i < 300; ++i) model_.Script(kSeed, kPrompt + i, 30 + i % 3);
  Request request = MakeThinkingRequest(240);
  request.thinking.loops = {.max_repeats = 8, .max_period_tokens = 16};
  const auto tokens = RunUnanswered(request, model_, GetParam(), EndReason::kLoop);
  EXPECT_EQ(tokens.size(), 5U + 64);
  EXPECT_EQ(Of(TokenOrigin::kDrawn, tokens), 5 + 64);
}

TEST_P(SchedulerThinkingTest, WithoutAnAnswerTheReserveEndsTheOutput) {
  Request request = MakeThinkingRequest(60);
  request.thinking.min_answer_tokens = 20;
  const auto tokens = RunUnanswered(request, model_, GetParam(), EndReason::kLength);
  EXPECT_EQ(Of(TokenOrigin::kDrawn, tokens), 60 - 20 - 1 - 3)
      << "where the closing ids would begin";
  EXPECT_EQ(tokens.size(), 36U);
}

TEST_P(SchedulerThinkingTest, WithoutAnAnswerABudgetStillCloses) {
  Request request = MakeThinkingRequest(60);
  request.thinking.min_answer_tokens = 20;
  request.thinking.budget_tokens = 10;
  const auto tokens = RunUnanswered(request, model_, GetParam(), EndReason::kLength);
  EXPECT_EQ(Reasoning(tokens), 11);
  EXPECT_EQ(tokens.size(), 60U);
}

TEST_P(SchedulerThinkingTest, AnswerNowEndsTheReasoningWithinTwoSteps) {
  Request request = MakeThinkingRequest();
  Stepper stepper(MakeLimits(GetParam()), model_);
  stepper.runner().AllowGoingBack();
  Reader reader(1 << 16);
  const RequestHandle handle = stepper.Add(request, reader);
  for (int i = 0; i < 7; ++i) stepper.Turn();
  reader.Take();
  request.thinking.closing = {.position = static_cast<std::int32_t>(reader.tokens().size())};
  stepper.scheduler().AnswerNow(handle);
  const std::uint64_t steps = stepper.runner().submitted();
  reader.Take();
  EXPECT_EQ(reader.tokens().back().mark, TokenMark::kClosesReasoning);
  while (reader.tokens().back().phase == step::Phase::kReasoning) {
    stepper.Turn();
    reader.Take();
  }
  EXPECT_LE(stepper.runner().submitted() - steps, 2U);
  stepper.scheduler().AnswerNow(handle);  // changes nothing
  stepper.RunDry();
  reader.Take();
  ExpectTokens(reader.tokens(), Alone(model_, request, 60), true);
  stepper.scheduler().AnswerNow(handle);  // nor that
}

TEST_P(SchedulerThinkingTest, AnswerNowOfOneThatWaitsHoldsWhenItRuns) {
  Request request = MakeThinkingRequest();
  Stepper stepper(MakeLimits(GetParam()), model_);
  stepper.runner().AllowGoingBack();
  Reader reader(1 << 16);
  const RequestHandle handle = stepper.Add(request, reader);
  stepper.scheduler().AnswerNow(handle);
  reader.Take();
  EXPECT_TRUE(reader.tokens().empty()) << "nothing comes before it has started";
  stepper.RunDry();
  reader.Take();
  request.thinking.closing = {.position = 0};
  ExpectTokens(reader.tokens(), Alone(model_, request, 60), true);
}

TEST_P(SchedulerThinkingTest, ThinkingThatTheModelOpensIsCountedFromItsFirstToken) {
  Request request = MakeOpenRequest(kSeed, kPrompt, 60);
  request.thinking = MakeThinking();
  request.thinking.budget_tokens = 12;
  model_.Script(kSeed, kPrompt, kBlank);
  model_.Script(kSeed, kPrompt + 1, kThink);
  // The white space before it is reasoning too, but is not called so yet.
  EXPECT_EQ(1 + Reasoning(Run(request)), 13);
  request.thinking.budget_tokens = 0;
  EXPECT_EQ(1 + Reasoning(Run(request)), 3) << "what opens it is left out by no budget";
}

TEST_P(SchedulerThinkingTest, AnOutputWithoutAnyTokenToDrawEnds) {
  Request request = MakeThinkingRequest(1);
  request.thinking.budget_tokens = 0;
  EXPECT_EQ(Run(request).size(), 1U);
}

}  // namespace
}  // namespace thinkwire::worker::engine
