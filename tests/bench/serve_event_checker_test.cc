#include "tests/bench/serve_event_checker.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kQueued[] = "queued { position: 1 }";
constexpr char kStarted[] =
    "started { prompt_tokens: 3 cached_prompt_tokens: 1 first_phase: PHASE_REASONING }";
constexpr char kReasoning[] = "reasoning_delta { token_ids: [5, 6] }";
constexpr char kReasoned[] = "reasoning_finished { reasoning_tokens: 3 token_ids: 7 }";
constexpr char kAnswer[] = "answer_delta { token_ids: 8 }";
constexpr char kFinished[] =
    "finished { tokens { reasoning_tokens: 3 answer_tokens: 2 } token_ids: 2 }";
constexpr char kCompleted[] =
    "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 reasoning_tokens: 3 "
    "answer_tokens: 2 discarded_tokens: 4 } }";
constexpr char kMoved[] = "moved { worker: 'b' }";

v1::GenerateRequest Request(const std::string& text = "") {
  v1::GenerateRequest request;
  request.set_max_tokens(5);
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(text, &request));
  return request;
}

EventChecker Checked(const std::vector<std::string>& events,
                     const absl::Status& status = absl::OkStatus(),
                     const v1::GenerateRequest& request = Request()) {
  EventChecker checker(request);
  for (const std::string& text : events) {
    v1::GenerateResponse event;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &event)) << text;
    checker.Add(event);
  }
  checker.End(status);
  return checker;
}

TEST(EventCheckerTest, AWholeStreamIsFineAndCounted) {
  const EventChecker checker = Checked({kQueued, kQueued, kStarted, kReasoning, kMoved, kReasoned,
                                        kAnswer, kFinished, kMoved, kCompleted});
  EXPECT_THAT(checker.violations(), IsEmpty());
  EXPECT_TRUE(checker.started());
  EXPECT_EQ(checker.tokens().prompt, 3);
  EXPECT_EQ(checker.tokens().cached, 1);
  EXPECT_EQ(checker.tokens().reasoning, 3);
  EXPECT_EQ(checker.tokens().answer, 2);
  EXPECT_EQ(checker.tokens().discarded, 4);
}

TEST(EventCheckerTest, AnAnswerAtOnceIsFine) {
  EXPECT_THAT(Checked({"started { first_phase: PHASE_ANSWER }",
                       "finished { tokens { answer_tokens: 1 } token_ids: 2 }",
                       "completed { usage { answer_tokens: 1 } }"})
                  .violations(),
              IsEmpty());
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

TEST(EventCheckerTest, EveryEventHasItsPlace) {
  struct Case {
    std::vector<std::string> events;
    const char* violation;
  };
  const Case cases[] = {
      {{kReasoning}, "ReasoningDelta came after nothing"},
      {{kMoved}, "Moved came after nothing"},
      {{kStarted, kQueued}, "Queued came after Started"},
      {{kStarted, kStarted}, "Started came after Started"},
      {{kStarted, kAnswer}, "AnswerDelta came after Started"},
      {{kStarted, kReasoning, kAnswer}, "AnswerDelta came after ReasoningDelta"},
      {{kStarted, kReasoning, kReasoned, kReasoning},
       "ReasoningDelta came after ReasoningFinished"},
      {{"started { first_phase: PHASE_ANSWER }", kReasoning}, "ReasoningDelta came after Started"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kReasoned},
       "ReasoningFinished came after AnswerDelta"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kCompleted}, "Completed came after AnswerDelta"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kFinished, kAnswer},
       "AnswerDelta came after Finished"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kFinished, kCompleted, kMoved},
       "Moved came after Completed"},
      {{kStarted, ""}, "nothing came after Started"},
  };
  for (const Case& a_case : cases) {
    const EventChecker checker = Checked(a_case.events, absl::CancelledError());
    ASSERT_FALSE(checker.violations().empty()) << a_case.violation;
    EXPECT_EQ(checker.violations().front(), a_case.violation);
  }
}

TEST(EventCheckerTest, WhatIsSaidMustBeWhatCame) {
  const auto violations = [](const char* reasoned, const char* finished, const char* completed,
                             const v1::GenerateRequest& request) {
    return Checked({kStarted, kReasoning, reasoned, kAnswer, finished, completed}, absl::OkStatus(),
                   request)
        .violations();
  };
  EXPECT_THAT(violations("reasoning_finished { reasoning_tokens: 2 token_ids: 7 }", kFinished,
                         kCompleted, Request()),
              ElementsAre("ReasoningFinished.reasoning_tokens is 2, counted were 3"));
  EXPECT_THAT(
      violations(kReasoned,
                 "finished { tokens { reasoning_tokens: 3 answer_tokens: 1 } token_ids: 2 }",
                 kCompleted, Request()),
      ElementsAre("Finished.tokens.answer_tokens is 1, counted were 2"));
  EXPECT_THAT(violations(kReasoned, kFinished,
                         "completed { usage { prompt_tokens: 4 reasoning_tokens: 3 "
                         "answer_tokens: 3 } }",
                         Request()),
              ElementsAre("usage.prompt_tokens is 4, counted were 3",
                          "usage.cached_prompt_tokens is 0, counted were 1",
                          "usage.answer_tokens is 3, counted were 2"));
  EXPECT_THAT(
      violations(kReasoned, kFinished, kCompleted, Request("prompt { token_ids { ids: [1, 1] } }")),
      ElementsAre("Started.prompt_tokens is 3, counted were 2"));
}

TEST(EventCheckerTest, OutputsHaveTheLengthThatWasAskedFor) {
  const std::vector<std::string> events = {kStarted, kReasoning, kReasoned,
                                           kAnswer,  kFinished,  kCompleted};
  EXPECT_THAT(Checked(events, absl::OkStatus(), Request("max_tokens: 4")).violations(),
              ElementsAre(HasSubstr("has 5 tokens, max_tokens is 4")));
  const v1::GenerateRequest longer = Request("max_tokens: 6 ignore_eos: true");
  EXPECT_THAT(Checked(events, absl::OkStatus(), longer).violations(),
              ElementsAre(HasSubstr("has 5 tokens, max_tokens is 6")));
  const v1::GenerateRequest exact = Request("max_tokens: 5 ignore_eos: true");
  EXPECT_THAT(Checked(events, absl::OkStatus(), exact).violations(), IsEmpty());
}

}  // namespace
}  // namespace thinkwire::bench
