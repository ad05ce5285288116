// Scheduler: answers that must look like something.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "tests/worker/engine/fake_format.h"
#include "tests/worker/engine/stepper.h"
#include "worker/engine/replay.h"

namespace thinkwire::worker::engine {
namespace {

constexpr std::int32_t kPrompt = 10;  // tokens

Request MakeFormatRequest(std::uint64_t seed, std::int32_t max_tokens, std::size_t answer_ids) {
  Request request = MakeRequest(seed, kPrompt, max_tokens);
  request.format = std::make_shared<const FakeFormat>(answer_ids);
  return request;
}

// By D, the plans in flight.
class SchedulerFormatTest : public testing::TestWithParam<std::int32_t> {
 protected:
  // The whole of `request`, which is what is expected.
  Output Run(const FakeModel& model, const Request& request) {
    Stepper stepper(MakeLimits(GetParam()), model);
    stepper.runner().AllowGoingBack();
    Reader reader;
    stepper.Add(request, reader);
    stepper.RunDry();
    reader.Take();
    plans_ = stepper.runner().plans();
    masked_draws_ = stepper.scheduler().masked_draws();
    const Output expected = Alone(model, request, request.max_tokens.value());
    ExpectTokens(reader.tokens(), expected, true);
    EXPECT_TRUE(reader.ending());
    EXPECT_EQ(reader.ending()->reason, expected.reason);
    stepper.ExpectIdle();
    return expected;
  }

  static std::vector<std::int32_t> AnswerOf(const Output& output) {
    std::vector<std::int32_t> ids;
    for (const Token& token : output.tokens) {
      if (token.phase == step::Phase::kAnswer) ids.push_back(token.id);
    }
    return ids;
  }

  static void ExpectInFormat(const Output& output, const Request& request) {
    const std::unique_ptr<AnswerGuide> guide = request.format->Begin();
    for (const std::int32_t id : AnswerOf(output)) EXPECT_TRUE(guide->Accept(id)) << id;
  }

  std::vector<step::Plan> plans_;
  std::uint64_t masked_draws_ = 0;
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerFormatTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerFormatTest, TheAnswerIsInItAndTheReasoningFree) {
  FakeModel model(kVocab);
  model.Script(1, kPrompt + 9, kThinkEnd);
  const Request request = MakeFormatRequest(1, 60, 12);
  const Output output = Run(model, request);
  EXPECT_EQ(output.reason, EndReason::kEndOfSequence);
  ExpectInFormat(output, request);
  // A mask for what was drawn of the answer, and for no more.
  const auto is_drawn = [](const Token& token) {
    return token.phase == step::Phase::kAnswer && token.origin == TokenOrigin::kDrawn;
  };
  EXPECT_EQ(masked_draws_, std::ranges::count_if(output.tokens, is_drawn));
}

TEST_P(SchedulerFormatTest, ForcedStretchesAreComputedInOneRow) {
  const FakeModel model(kVocab);
  Request request = MakeFormatRequest(1, 60, 20);
  request.start_phase = step::Phase::kAnswer;
  const Output output = Run(model, request);
  EXPECT_GT(std::ranges::count(output.tokens, TokenOrigin::kFormat, &Token::origin), 0);
  int rows = 0;
  for (const step::Plan& plan : plans_) {
    rows += static_cast<int>(std::ranges::count_if(plan.rows, [](const step::Row& row) {
      return row.first_position > kPrompt && row.count == 3 && row.mask != step::kNoMask;
    }));
  }
  EXPECT_GT(rows, 0) << "the last drawn id and two that were forced";
}

TEST_P(SchedulerFormatTest, EndOfSequenceInTheReasoningBeginsTheAnswer) {
  FakeModel model(kVocab);
  model.Script(1, kPrompt + 9, kEos);
  const Request request = MakeFormatRequest(1, 60, 12);
  const Output output = Run(model, request);
  EXPECT_EQ(output.tokens[9].id, kThinkEnd);
  EXPECT_EQ(output.tokens[9].mark, TokenMark::kClosesReasoning);
  EXPECT_EQ(output.reason, EndReason::kEndOfSequence);
  ExpectInFormat(output, request);
}

TEST_P(SchedulerFormatTest, MaxTokensAndStopIdsSayThatTheyCutIt) {
  FakeModel model(kVocab);
  model.Script(1, kPrompt + 3, kThinkEnd);
  EXPECT_EQ(Run(model, MakeFormatRequest(1, 10, 20)).reason, EndReason::kLength);
  // Within a forced stretch.
  EXPECT_EQ(Run(model, MakeFormatRequest(1, 8, 20)).reason, EndReason::kLength);
  Request request = MakeFormatRequest(1, 60, 20);
  request.stop_ids[step::Phase::kAnswer] = {AnswerOf(Run(model, request)).at(6)};
  EXPECT_EQ(Run(model, request).reason, EndReason::kStopId);
}

TEST_P(SchedulerFormatTest, BudgetsLeastLengthsAndPenaltiesComposeWithIt) {
  for (std::uint64_t seed = 1; seed < 30; ++seed) {
    SCOPED_TRACE(seed);
    FakeModel model(kVocab);
    model.Script(seed, kPrompt + 4, seed % 2 == 0 ? kThinkEnd : kEos);
    Request request = MakeFormatRequest(seed, 50, 1 + seed);
    request.thinking = MakeThinking();
    request.thinking.budget_tokens = static_cast<std::int32_t>(seed % 12);
    if (seed % 3 == 0) request.thinking.min_tokens = static_cast<std::int32_t>(seed % 12);
    if (seed % 4 == 0)
      request.thinking.closing = {.position = 3, .origin = TokenOrigin::kAnswerNow};
    request.sampling.phases[step::Phase::kAnswer].repetition_penalty = 1.2F;
    request.logprobs = true;
    const Output output = Run(model, request);
    ExpectInFormat(output, request);
  }
}

TEST_P(SchedulerFormatTest, AnAnswerThatOpensItsReasoningBeginsAnew) {
  FakeModel model(kVocab);
  model.Script(1, kPrompt, kBlank);
  model.Script(1, kPrompt + 1, kThink);
  model.Script(1, kPrompt + 6, kThinkEnd);
  Request request = MakeOpenRequest(1, kPrompt, 50);
  request.format = std::make_shared<const FakeFormat>(9);
  const Output output = Run(model, request);
  EXPECT_EQ(output.tokens[1].mark, TokenMark::kOpensReasoning);
  EXPECT_EQ(output.tokens[7].phase, step::Phase::kAnswer);
  EXPECT_EQ(output.reason, EndReason::kEndOfSequence);
}

// The ids of an output, replayed to any of them, leave the plan where it was.
TEST_P(SchedulerFormatTest, ItGoesOnFromAnyOfItsIds) {
  FakeModel model(kVocab);
  model.Script(1, kPrompt + 5, kThinkEnd);
  const Request request = MakeFormatRequest(1, 40, 18);
  const Output alone = Alone(model, request, 40);
  for (std::size_t drawn = 0; drawn < alone.tokens.size(); ++drawn) {
    SCOPED_TRACE(drawn);
    Request resumed = request;
    for (std::size_t i = 0; i < drawn; ++i) resumed.drawn_ids.push_back(alone.tokens[i].id);
    Stepper stepper(MakeLimits(GetParam()), model);
    stepper.runner().AllowGoingBack();
    Reader reader;
    stepper.Add(resumed, reader);
    stepper.RunDry();
    reader.Take();
    Output rest = alone;
    rest.tokens.erase(rest.tokens.begin(), rest.tokens.begin() + static_cast<long>(drawn));
    ExpectTokens(reader.tokens(), rest, true);
  }
}

TEST_P(SchedulerFormatTest, WhoseMaskIsBeingFoundSitsOutAndTheOthersGoOn) {
  FakeModel model(kVocab);
  model.Script(1, kPrompt + 2, kThinkEnd);
  Stepper stepper(MakeLimits(GetParam()), model);
  stepper.runner().AllowGoingBack();
  stepper.DelayMasks();
  const Request formatted = MakeFormatRequest(1, 60, 20);
  const Request free = MakeRequest(2, kPrompt, 50);
  Reader waits;
  Reader goes_on;
  stepper.Add(formatted, waits);
  stepper.Add(free, goes_on);
  stepper.RunDry();
  goes_on.Take();
  EXPECT_TRUE(goes_on.ending());
  EXPECT_GT(stepper.scheduler().rows_without_mask(), 0U);
  waits.Take();
  EXPECT_FALSE(waits.ending());
  while (stepper.FindMask()) stepper.RunDry();
  waits.Take();
  ExpectTokens(waits.tokens(), Alone(model, formatted, 60), true);
  stepper.ExpectIdle();
}

TEST_P(SchedulerFormatTest, WhatNobodyElseFindsIsFoundInPlace) {
  const FakeModel model(kVocab);
  Stepper stepper(MakeLimits(GetParam()), model);
  stepper.runner().AllowGoingBack();
  stepper.DelayMasks(1);
  std::vector<Reader> readers(6);
  for (std::size_t i = 0; i < readers.size(); ++i) {
    Request request = MakeFormatRequest(i, 60, 20);
    request.start_phase = step::Phase::kAnswer;
    stepper.Add(request, readers[i]);
  }
  stepper.RunDry();
  int ended = 0;
  for (Reader& reader : readers) {
    reader.Take();
    ended += reader.ending() ? 1 : 0;
  }
  EXPECT_EQ(ended, 5) << "all but the one whose mask waits for a thread";
  while (stepper.FindMask()) stepper.RunDry();
  stepper.ExpectIdle();
}

TEST(ReplayFormatTest, SaysWhichIdsContradictTheFormat) {
  FakeModel model(kVocab);
  model.Script(1, kPrompt + 2, kThinkEnd);
  const Request request = MakeFormatRequest(1, 40, 18);
  const std::vector<std::int32_t> ends = {kEos};
  const Output alone = Alone(model, request, 40);
  Replay right(request, 40, ends);
  for (const Token& token : alone.tokens) {
    EXPECT_EQ(right.Next(token.id).origin, token.origin);
    EXPECT_FALSE(right.contradicts());
  }
  for (std::size_t wrong = 3; wrong < alone.tokens.size(); ++wrong) {
    Replay replay(request, 40, ends);
    for (std::size_t i = 0; i < wrong; ++i) replay.Next(alone.tokens[i].id);
    EXPECT_FALSE(replay.contradicts());
    replay.Next(kThinkEnd);
    EXPECT_TRUE(replay.contradicts()) << wrong;
  }
  Replay ended(request, 40, ends);
  ended.Next(kEos);
  EXPECT_TRUE(ended.contradicts()) << "no engine ends an output so";
}

}  // namespace
}  // namespace thinkwire::worker::engine
