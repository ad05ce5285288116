#include "worker/engine/deadline_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "tests/worker/engine/stepper.h"

namespace thinkwire::worker::engine {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(DecodePaceTest, IsUnknownUntilAStepHasTakenTime) {
  DecodePace pace;
  EXPECT_FALSE(pace.TokensIn(seconds(1)));
  pace.Record(milliseconds(0));
  EXPECT_FALSE(pace.TokensIn(seconds(1)));
  pace.Record(milliseconds(10));
  EXPECT_EQ(pace.TokensIn(seconds(0)), 0);
  EXPECT_EQ(pace.TokensIn(-seconds(5)), 0);
}

TEST(DecodePaceTest, FollowsTheLoadAndGivesALongStepItsTime) {
  DecodePace pace;
  for (int i = 0; i < 1000; ++i) pace.Record(milliseconds(10));
  EXPECT_NEAR(*pace.TokensIn(seconds(10)), 1000, 20);
  pace.Record(seconds(1));  // the prompt of somebody else
  EXPECT_NEAR(*pace.TokensIn(seconds(10)), 770, 60) << "a quarter of what counts";
  for (int i = 0; i < 1000; ++i) pace.Record(milliseconds(40));
  EXPECT_NEAR(*pace.TokensIn(seconds(10)), 250, 10);
}

// By D, the plans in flight. A step takes 100 ms.
class DeadlineBudgetTest : public testing::TestWithParam<std::int32_t> {
 protected:
  static constexpr std::int32_t kPrompt = 10;

  Request MakeTimedRequest(Clock::Duration left, std::optional<std::int32_t> answer) {
    Request request = MakeRequest(7, kPrompt, 900);
    request.thinking = MakeThinking();
    request.thinking.ends_in_time = true;
    request.thinking.answer_in_time = answer;
    request.deadline = stepper_.clock().Now() + left;
    return request;
  }

  // Up to so many steps.
  void Run(Clock::Duration step, int most = 1 << 20) {
    for (bool ran = true; ran && most > 0; --most) {
      stepper_.scheduler().Expire(stepper_.clock().Now());
      while (stepper_.Submit()) {
      }
      ran = stepper_.scheduler().steps_in_flight() > 0;
      stepper_.clock().Advance(step);
      if (ran) stepper_.Collect();
    }
  }

  static std::int32_t Reasoning(const Reader& reader) {
    return static_cast<std::int32_t>(
        std::ranges::count(reader.tokens(), step::Phase::kReasoning, &Token::phase));
  }

  step::Limits limits_ = [] {
    step::Limits limits = MakeLimits(GetParam());
    limits.max_model_len = 1024;
    limits.num_blocks = 4 * 1024 / limits.block_tokens;
    return limits;
  }();
  Stepper stepper_{limits_};
};

INSTANTIATE_TEST_SUITE_P(InFlight, DeadlineBudgetTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(DeadlineBudgetTest, TheAnswerHasItsTimeBeforeTheDeadline) {
  stepper_.runner().AllowGoingBack();
  Reader reader(1 << 16);
  stepper_.Add(MakeTimedRequest(seconds(60), 200), reader);
  Run(milliseconds(100));
  reader.Take();
  // 600 steps; a tenth is spare, 200 are the answer's.
  EXPECT_NEAR(Reasoning(reader), 340, 25);
  const Token& last = reader.tokens()[static_cast<std::size_t>(Reasoning(reader)) - 1];
  EXPECT_EQ(last.mark, TokenMark::kClosesReasoning);
  EXPECT_EQ(last.origin, TokenOrigin::kDeadline);
  EXPECT_EQ(reader.ending()->reason, EndReason::kDeadline) << "the model does not stop by itself";
  EXPECT_GE(static_cast<std::int32_t>(reader.tokens().size()) - Reasoning(reader), 200);
}

TEST_P(DeadlineBudgetTest, WithoutAWordTheAnswerHasTheShareOfWhatThereIsTimeFor) {
  stepper_.runner().AllowGoingBack();
  Reader reader(1 << 16);
  stepper_.Add(MakeTimedRequest(seconds(60), std::nullopt), reader);
  Run(milliseconds(100));
  reader.Take();
  EXPECT_NEAR(Reasoning(reader), 540 - 540 / 4, 30);
}

TEST_P(DeadlineBudgetTest, AnEstimateIsNeverExtended) {
  stepper_.runner().AllowGoingBack();
  Reader reader(1 << 16);
  const Request request = MakeTimedRequest(seconds(60), 100);
  stepper_.Add(request, reader);
  Run(milliseconds(120), 100);  // slow: 400 steps would be left
  Run(milliseconds(10));        // fast: 4,800 would be
  reader.Take();
  EXPECT_LT(Reasoning(reader), 400);
  EXPECT_GT(Reasoning(reader), 200);
}

TEST_P(DeadlineBudgetTest, NoTimeClosesAtOnce) {
  stepper_.runner().AllowGoingBack();
  Reader reader(1 << 16);
  stepper_.Add(MakeTimedRequest(seconds(5), 500), reader);
  Run(milliseconds(100));
  reader.Take();
  EXPECT_LE(Reasoning(reader), 2 + 4);
  EXPECT_GT(reader.tokens().size(), 10U);
}

}  // namespace
}  // namespace thinkwire::worker::engine
