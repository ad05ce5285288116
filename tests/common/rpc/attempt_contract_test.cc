#include "common/rpc/attempt_contract.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "tests/common/rpc/stream_texts.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::TextFormat;

v1::WorkerGenerateResponse Message(const std::string& text) {
  v1::WorkerGenerateResponse message;
  EXPECT_TRUE(TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

TEST(AttemptContractTest, NumbersItsEventsAndTellsThePromptOnce) {
  v1::WorkerGenerateRequest request;
  request.set_attempt(2);
  const auto wrong = [&](const std::vector<std::string>& messages) -> std::string {
    AttemptContract contract(request, 10, {});
    for (const std::string& text : messages) {
      const absl::Status status = contract.Add(Message(text), {});
      if (!status.ok()) return std::string(status.message());
    }
    return "";
  };
  const std::string first = "attempt: 2 prompt_ids { ids: [1, 2, 9] } event { queued { } }";
  const std::string started = absl::StrCat("attempt: 2 seq: 1 event { ", kStarted, " }");
  EXPECT_EQ(wrong({first, started}), "");
  EXPECT_EQ(wrong({"attempt: 1 event { queued { } }"}), "attempt 1 was answered, not 2");
  EXPECT_EQ(wrong({first, first}), "event 0 came where event 1 was due");
  const std::string once = "the prompt's ids come with the first event, and with it alone";
  EXPECT_EQ(wrong({"attempt: 2 event { queued { } }"}), once);
  EXPECT_EQ(wrong({first, "attempt: 2 seq: 1 prompt_ids { ids: 1 } event { queued { } }"}), once);
  EXPECT_EQ(wrong({"attempt: 2 prompt_ids { } event { queued { } }"}), "the prompt has 0 ids");
  EXPECT_EQ(wrong({"attempt: 2 prompt_ids { ids: 10 } event { queued { } }"}),
            "the prompt has ids from 10 to 10, the vocabulary 10");
  EXPECT_EQ(wrong({"attempt: 2 prompt_ids { ids: [1, 2] } event { queued { } }", started}),
            "Started.prompt_tokens is 3, counted were 2");
  EXPECT_EQ(wrong({first, started, "attempt: 2 seq: 2 event { moved { } }"}),
            "Moved and Restarted are none of a worker's events");
  EXPECT_EQ(
      wrong({first, "attempt: 2 seq: 1 event { started { limits { max_model_len: 1048577 } } }"}),
      "Started.limits.max_model_len is 1048577");
  request.set_expected_fingerprint("f");
  EXPECT_EQ(wrong({first, started}), "");
  request.set_expected_fingerprint("g");
  EXPECT_EQ(wrong({first, started}),
            "Started.fingerprint is another than the one that was asked for");
  request.mutable_request()->mutable_prompt()->mutable_token_ids()->add_ids(1);
  EXPECT_EQ(wrong({first}), "the prompt has 3 ids");
}

// What is wrong with an attempt that goes on from `state` with `events` after Started; empty:
// nothing.
std::string WrongAfter(const std::string& state, const std::vector<std::string>& events) {
  v1::WorkerGenerateRequest request;
  request.set_attempt(2);
  EXPECT_TRUE(TextFormat::ParseFromString(state, request.mutable_resume())) << state;
  AttemptContract contract(request, 10, {});
  const auto add = [&](int seq, const std::string& event) {
    return contract.Add(Message(absl::StrCat("attempt: 2 seq: ", seq,
                                             seq == 0 ? " prompt_ids { ids: [1, 2, 9] }" : "",
                                             " event { ", event, " }")),
                        {});
  };
  absl::Status status = add(0, kStarted);
  for (std::size_t i = 0; i < events.size() && status.ok(); ++i) {
    status = add(static_cast<int>(i) + 1, events[i]);
  }
  if (status.ok()) status = contract.End();
  return std::string(status.message());
}

constexpr char kReasons[] =
    "prompt_ids: [1, 2, 9] outputs { token_ids: 5 phase: PHASE_REASONING reasoning_tokens: 1 }";
constexpr char kAnswers[] =
    "prompt_tokens: 3 outputs { token_ids: [5, 6, 7, 8] phase: PHASE_ANSWER reasoning_tokens: 3 "
    "reasoning_finished: true }";

TEST(AttemptContractTest, WhatWasSentBeforeCounts) {
  const std::string more = "reasoning_delta { token_ids: 6 }";
  EXPECT_EQ(
      WrongAfter("prompt_ids: [1, 2, 9]", {kReasoning, kReasoned, kAnswer, kFinished, kCompleted}),
      "");
  EXPECT_EQ(WrongAfter(kReasons, {more, kReasoned, kAnswer, kFinished, kCompleted}), "");
  EXPECT_EQ(WrongAfter(kAnswers, {kFinished, kCompleted}), "");
  EXPECT_EQ(WrongAfter(kReasons, {kReasoning, kReasoned}),
            "ReasoningFinished.reasoning_tokens is 3, counted were 4");
  EXPECT_EQ(WrongAfter(kAnswers, {kReasoned}), "ReasoningFinished came after Started");
  EXPECT_EQ(WrongAfter(kAnswers, {kAnswer, kAnswer}), "the output has 6 tokens, max_tokens is 5");
  EXPECT_EQ(WrongAfter("prompt_ids: [1, 2]", {}), "the prompt has 3 ids");
  EXPECT_EQ(WrongAfter("prompt_tokens: 2", {}), "the prompt has 3 ids");
}

TEST(AttemptContractTest, WhatHasFinishedOnlyCompletes) {
  const std::string finished =
      "prompt_tokens: 3 outputs { token_ids: [5, 6, 7, 8, 2] phase: PHASE_ANSWER "
      "reasoning_tokens: 3 reasoning_finished: true finished: true }";
  EXPECT_EQ(WrongAfter(finished, {kCompleted}), "");
  EXPECT_EQ(WrongAfter(finished, {kFinished}), "Finished came after Started");
  // Nothing closed its reasoning; why, the state does not say.
  EXPECT_EQ(WrongAfter("prompt_tokens: 3 outputs { token_ids: 5 phase: PHASE_REASONING "
                       "reasoning_tokens: 1 reasoning_finished: true }",
                       {"finished { reason: FINISH_REASON_END phase: PHASE_REASONING token_ids: 2 "
                        "tokens { reasoning_tokens: 2 } }",
                        "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 "
                        "reasoning_tokens: 2 } }"}),
            "");
  EXPECT_EQ(WrongAfter("prompt_tokens: 3 outputs { output_index: -1 } outputs { output_index: 1 }",
                       {kReasoning, kReasoned, kAnswer, kFinished, kCompleted}),
            "")
      << "outputs that nobody asked for are left out";
}

// An attempt of nothing but the messages that a test adds.
class SignsTest : public testing::Test {
 protected:
  std::string Add(const std::string& text) {
    return std::string(contract_.Add(Message(text), now_).message());
  }
  std::string Queued(int seq, int position) {
    return Add(absl::StrCat("attempt: 1 seq: ", seq,
                            seq == 0 ? " prompt_ids { ids: [1, 2, 9] }" : "",
                            " event { queued { position: ", position, " } }"));
  }

  static v1::WorkerGenerateRequest First() {
    v1::WorkerGenerateRequest request;
    request.set_attempt(1);
    return request;
  }
  Clock::TimePoint now_;
  AttemptContract contract_{First(), 10, now_};
};

TEST_F(SignsTest, EmptyMessagesComeBeforeTheRequestIsRead) {
  EXPECT_EQ(Add(""), "");
  EXPECT_EQ(Add(""), "");
  EXPECT_FALSE(contract_.brought_on());
  EXPECT_EQ(Queued(0, 5), "") << "they have no numbers";
  EXPECT_EQ(Add(""), "attempt 0 was answered, not 1") << "it has read the request";
}

TEST_F(SignsTest, MessagesWithoutAnEventComeAfterStarted) {
  const std::string wrong = "a message without an event came before Started or after Completed";
  ASSERT_EQ(Queued(0, 5), "");
  ASSERT_EQ(Add(absl::StrCat("attempt: 1 seq: 1 event { ", kStarted, " }")), "");
  EXPECT_TRUE(contract_.brought_on());
  EXPECT_EQ(Add("attempt: 1 seq: 2"), "");
  EXPECT_FALSE(contract_.brought_on());

  AttemptContract other(First(), 10, now_);
  ASSERT_TRUE(
      other.Add(Message("attempt: 1 prompt_ids { ids: 1 } event { queued { } }"), now_).ok());
  EXPECT_EQ(other.Add(Message("attempt: 1 seq: 1"), now_).message(), wrong);
}

TEST_F(SignsTest, OnlyABetterPlaceInTheQueueIsProgress) {
  Queued(0, 5);
  EXPECT_TRUE(contract_.brought_on());
  Queued(1, 4);
  EXPECT_TRUE(contract_.brought_on());
  Queued(2, 6);
  EXPECT_FALSE(contract_.brought_on());
  Queued(3, 4);
  EXPECT_FALSE(contract_.brought_on()) << "back and forth leads nowhere";
  Queued(4, 3);
  EXPECT_TRUE(contract_.brought_on());
}

TEST_F(SignsTest, TheyAreFew) {
  for (int i = 0; i < kSignBurst; ++i) ASSERT_EQ(Queued(i, i), "");
  now_ += std::chrono::seconds(1);
  for (int i = 0; i < kSignsASecond; ++i) ASSERT_EQ(Queued(kSignBurst + i, i), "");
  EXPECT_EQ(Queued(kSignBurst + kSignsASecond, 0), "85 signs of life came in 1 s");
}

}  // namespace
}  // namespace thinkwire::rpc
