#include "tests/bench/serve_event_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/common/rpc/stream_texts.h"

namespace thinkwire::bench {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using rpc::Event;
using rpc::kAnswer;
using rpc::kFinished;
using rpc::kQueued;
using rpc::kReasoned;
using rpc::kReasoning;
using rpc::kStarted;

constexpr char kCompleted[] =
    "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 reasoning_tokens: 3 "
    "answer_tokens: 2 discarded_tokens: 4 } }";

EventChecker Checked(const std::vector<std::string>& events,
                     const absl::Status& status = absl::OkStatus()) {
  EventChecker checker(v1::GenerateRequest{});
  for (const std::string& text : events) checker.Add(Event(text));
  checker.End(status);
  return checker;
}

TEST(EventCheckerTest, AWholeStreamIsFineAndCounted) {
  const EventChecker checker =
      Checked({kQueued, kQueued, kStarted, kReasoning, kReasoned, kAnswer, kFinished, kCompleted});
  EXPECT_THAT(checker.violations(), IsEmpty());
  EXPECT_TRUE(checker.started());
  EXPECT_EQ(checker.tokens().prompt, 3);
  EXPECT_EQ(checker.tokens().cached, 1);
  EXPECT_EQ(checker.tokens().reasoning, 3);
  EXPECT_EQ(checker.tokens().answer, 2);
  EXPECT_EQ(checker.tokens().discarded, 4);
}

TEST(EventCheckerTest, AStreamMayBreakOffWithAnError) {
  const absl::Status error = absl::UnavailableError("lost");
  EXPECT_THAT(Checked({}, error).violations(), IsEmpty());
  EXPECT_THAT(Checked({kQueued}, error).violations(), IsEmpty());
  EXPECT_THAT(Checked({kStarted, kReasoning}, error).violations(), IsEmpty());
}

TEST(EventCheckerTest, OnlyCancelAndDeadlineMayOvertakeTheEnd) {
  const std::vector<std::string> events = {kStarted, kReasoning, kReasoned,
                                           kAnswer,  kFinished,  kCompleted};
  EXPECT_THAT(Checked(events, absl::CancelledError()).violations(), IsEmpty());
  EXPECT_THAT(Checked(events, absl::DeadlineExceededError("")).violations(), IsEmpty());
  EXPECT_THAT(Checked(events, absl::InternalError("")).violations(),
              ElementsAre("INTERNAL came after Completed"));
}

TEST(EventCheckerTest, OkNeedsCompleted) {
  EXPECT_THAT(Checked({}).violations(), ElementsAre("OK came after nothing"));
  EXPECT_THAT(Checked({kStarted, kReasoning, kReasoned, kAnswer, kFinished}).violations(),
              ElementsAre("OK came after Finished"));
}

TEST(EventCheckerTest, TellsTheFirstViolationAndCountsOn) {
  const EventChecker checker = Checked({kStarted, kAnswer, kReasoning}, absl::CancelledError());
  EXPECT_THAT(checker.violations(), ElementsAre("AnswerDelta came after Started"));
  EXPECT_EQ(checker.tokens().output(), 3);
}

}  // namespace
}  // namespace thinkwire::bench
