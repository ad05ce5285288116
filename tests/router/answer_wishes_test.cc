#include "router/answer_wishes.h"

#include <gtest/gtest.h>

#include <optional>
#include <vector>

namespace thinkwire::router {
namespace {

using Open = std::vector<std::optional<std::int32_t>>;

v1::GenerateRequest Outputs(int number) {
  v1::GenerateRequest request;
  request.set_n(number);
  return request;
}

v1::GenerateResponse ReasoningFinished(int output) {
  v1::GenerateResponse event;
  event.mutable_reasoning_finished()->set_output_index(output);
  return event;
}

TEST(AnswerWishesTest, CountsThoseThatReasonAndWereNotAsked) {
  AnswerWishes wishes;
  wishes.Begin(Outputs(3));
  EXPECT_EQ(wishes.Open(), Open());
  EXPECT_EQ(wishes.Ask(1), 1);
  EXPECT_EQ(wishes.Ask(1), 0);
  EXPECT_EQ(wishes.Open(), Open(1, 1));
  EXPECT_EQ(wishes.Ask(std::nullopt), 2);
  EXPECT_EQ(wishes.Open(), Open({std::nullopt}));
}

TEST(AnswerWishesTest, ForgetsThoseThatReasonNoMore) {
  AnswerWishes wishes;
  wishes.Begin(Outputs(3));
  EXPECT_EQ(wishes.Ask(0) + wishes.Ask(2), 2);
  wishes.Note(ReasoningFinished(0));
  EXPECT_EQ(wishes.Open(), Open(1, 2));
  v1::GenerateResponse finished;
  finished.mutable_finished()->set_output_index(2);
  wishes.Note(finished);
  EXPECT_EQ(wishes.Open(), Open());
  EXPECT_EQ(wishes.Ask(std::nullopt), 1) << "the second reasons still";
  wishes.Note(ReasoningFinished(1'000'000));  // which no contract lets through
}

TEST(AnswerWishesTest, NobodyReasonsWhereAnAnswerComesFirst) {
  AnswerWishes off;
  v1::GenerateRequest request = Outputs(1);
  request.mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
  off.Begin(request);
  EXPECT_EQ(off.Ask(std::nullopt), 0);
  AnswerWishes answers;
  answers.Begin(Outputs(1));
  v1::GenerateResponse started;
  started.mutable_started()->set_first_phase(v1::PHASE_ANSWER);
  answers.Note(started);
  EXPECT_EQ(answers.Ask(std::nullopt), 0);
}

TEST(AnswerWishesTest, GoesOnFromWhatWasSent) {
  AnswerWishes wishes;
  v1::GenerateRequest request = Outputs(2);
  request.mutable_resume()->add_outputs()->set_reasoning_finished(true);
  wishes.Begin(request);
  EXPECT_EQ(wishes.Ask(std::nullopt), 1);
}

TEST(AnswerWishesTest, AWishMayComeBeforeTheRequest) {
  AnswerWishes wishes;
  EXPECT_EQ(wishes.Ask(std::nullopt), 0);
  wishes.Begin(Outputs(1));
  EXPECT_EQ(wishes.Open(), Open({std::nullopt}));
}

}  // namespace
}  // namespace thinkwire::router
