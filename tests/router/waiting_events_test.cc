#include "router/waiting_events.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace thinkwire::router {
namespace {

v1::GenerateResponse Reasoning(const std::string& text, std::int32_t id, std::int32_t output = 0) {
  v1::GenerateResponse event;
  v1::ReasoningDelta& delta = *event.mutable_reasoning_delta();
  delta.set_output_index(output);
  delta.set_text(text);
  delta.add_token_ids(id);
  delta.add_logprobs()->set_logprob(-static_cast<float>(id));
  return event;
}

v1::GenerateResponse Answer(const std::string& text, std::int32_t id) {
  v1::GenerateResponse event;
  event.mutable_answer_delta()->set_text(text);
  event.mutable_answer_delta()->add_token_ids(id);
  return event;
}

// All that is left, in order.
std::vector<v1::GenerateResponse> Drain(WaitingEvents& waiting) {
  std::vector<v1::GenerateResponse> events;
  for (; !waiting.empty(); waiting.Pop()) events.push_back(std::move(waiting.front()));
  return events;
}

TEST(WaitingEventsTest, DeltasOfAPhaseBecomeOne) {
  WaitingEvents waiting;
  waiting.Add(Reasoning("So", 1));
  waiting.Add(Reasoning("", 2));
  waiting.Add(Reasoning(" 2", 3));
  const auto events = Drain(waiting);
  ASSERT_EQ(events.size(), 1U);
  const v1::ReasoningDelta& delta = events[0].reasoning_delta();
  EXPECT_EQ(delta.text(), "So 2");
  EXPECT_EQ(std::vector(delta.token_ids().begin(), delta.token_ids().end()),
            (std::vector{1, 2, 3}));
  ASSERT_EQ(delta.logprobs_size(), 3);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(delta.logprobs(i).logprob(), static_cast<float>(-i - 1));
}

TEST(WaitingEventsTest, WhatIsOfAnotherPhaseOutputOrMakerStaysApart) {
  WaitingEvents waiting;
  waiting.Add(Reasoning("a", 1));
  waiting.Add(Reasoning("b", 2, 1));
  v1::GenerateResponse forced = Reasoning("c", 3, 1);
  forced.mutable_reasoning_delta()->set_forced(true);
  waiting.Add(std::move(forced));
  waiting.Add(Answer("d", 4));
  v1::GenerateResponse finished;
  finished.mutable_finished();
  waiting.Add(std::move(finished));
  waiting.Add(Answer("e", 5));
  EXPECT_EQ(Drain(waiting).size(), 6U);
}

// A field of a delta that nobody merges would be lost.
TEST(WaitingEventsTest, KnowsAllFieldsOfDeltas) {
  EXPECT_EQ(v1::ReasoningDelta::descriptor()->field_count(), 5);
  EXPECT_EQ(v1::AnswerDelta::descriptor()->field_count(), 5);
}

TEST(WaitingEventsTest, ADeltaGrowsToItsLimit) {
  WaitingEvents waiting;
  for (int i = 0; i < WaitingEvents::kMaxTokens; ++i) {
    EXPECT_TRUE(waiting.has_room()) << i;
    waiting.Add(Answer("x", i));
  }
  EXPECT_FALSE(waiting.has_room());
  waiting.Add(Answer("y", 0));
  const auto events = Drain(waiting);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].answer_delta().token_ids_size(), WaitingEvents::kMaxTokens);
  EXPECT_EQ(events[1].answer_delta().text(), "y");
}

TEST(WaitingEventsTest, LargeTextsStayApart) {
  WaitingEvents waiting;
  waiting.Add(Answer(std::string(WaitingEvents::kMaxBytes, 'x'), 1));
  EXPECT_TRUE(waiting.has_room());
  waiting.Add(Answer("y", 2));
  EXPECT_FALSE(waiting.has_room());
  EXPECT_EQ(Drain(waiting).size(), 2U);
}

TEST(WaitingEventsTest, HasRoomForOneDeltaAlone) {
  WaitingEvents waiting;
  EXPECT_TRUE(waiting.has_room());
  v1::GenerateResponse finished;
  finished.mutable_finished();
  waiting.Add(std::move(finished));
  EXPECT_FALSE(waiting.has_room());
  waiting.Pop();
  waiting.Add(Reasoning("a", 1));
  EXPECT_TRUE(waiting.has_room());
  waiting.Add(Answer("b", 2));
  EXPECT_FALSE(waiting.has_room());
}

// However a reader lags, it gets the same ids and texts.
TEST(WaitingEventsTest, AnyPaceOfTheReaderBringsTheSame) {
  std::mt19937 random(20261130);
  for (int round = 0; round < 100; ++round) {
    WaitingEvents waiting;
    std::string texts[2];
    std::vector<std::int32_t> ids[2];
    const auto take = [&] {
      const v1::ReasoningDelta& delta = waiting.front().reasoning_delta();
      texts[delta.output_index()] += delta.text();
      for (const std::int32_t id : delta.token_ids()) ids[delta.output_index()].push_back(id);
      waiting.Pop();
    };
    std::string wanted_texts[2];
    std::vector<std::int32_t> wanted_ids[2];
    for (std::int32_t id = 0; id < 300; ++id) {
      const std::size_t output = random() % 8 == 0 ? 1 : 0;
      const std::string text(random() % 3, static_cast<char>('a' + id % 26));
      wanted_texts[output] += text;
      wanted_ids[output].push_back(id);
      waiting.Add(Reasoning(text, id, static_cast<std::int32_t>(output)));
      while (!waiting.empty() && (!waiting.has_room() || random() % 4 == 0)) take();
    }
    while (!waiting.empty()) take();
    for (const int output : {0, 1}) {
      EXPECT_EQ(texts[output], wanted_texts[output]) << "round " << round;
      EXPECT_EQ(ids[output], wanted_ids[output]) << "round " << round;
    }
  }
}

}  // namespace
}  // namespace thinkwire::router
