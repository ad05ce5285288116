#include "common/rpc/stream_contract.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/common/rpc/stream_texts.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::TextFormat;

constexpr char kAnswerFirst[] =
    "started { prompt_tokens: 3 cached_prompt_tokens: 1 first_phase: PHASE_ANSWER seed: 7 "
    "fingerprint: 'f' limits { max_tokens: 5 max_model_len: 8 vocab_size: 10 } }";
constexpr char kMoved[] = "moved { worker: 'b' }";

v1::GenerateRequest Request(const std::string& text = "") {
  v1::GenerateRequest request;
  EXPECT_TRUE(TextFormat::ParseFromString(text, &request)) << text;
  return request;
}

// What is wrong with a stream that ends with OK; empty: nothing.
std::string WrongWith(const std::vector<std::string>& events, const v1::GenerateRequest& request) {
  StreamContract contract(request);
  for (const std::string& event : events) {
    const absl::Status status = contract.Add(Event(event));
    if (!status.ok()) return std::string(status.message());
  }
  return std::string(contract.End().message());
}
std::string WrongWith(const std::vector<std::string>& events) {
  return WrongWith(events, Request());
}

TEST(StreamContractTest, WholeStreamsAreFine) {
  EXPECT_EQ(WrongWith({kQueued, kQueued, kStarted, kReasoning, kReasoned, kAnswer, kFinished,
                       kCompleted}),
            "");
  EXPECT_EQ(WrongWith({kAnswerFirst,
                       "finished { reason: FINISH_REASON_END phase: PHASE_ANSWER token_ids: 2 "
                       "tokens { answer_tokens: 1 } }",
                       "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 "
                       "answer_tokens: 1 } }"}),
            "");
  EXPECT_EQ(WrongWith({kStarted, kReasoning, kMoved, kReasoned, kAnswer, kFinished, kMoved,
                       "completed { resumes: 2 usage { prompt_tokens: 3 cached_prompt_tokens: 1 "
                       "reasoning_tokens: 3 answer_tokens: 2 } }"}),
            "");
}

constexpr char kUndecided[] =
    "started { prompt_tokens: 3 cached_prompt_tokens: 1 seed: 7 fingerprint: 'f' "
    "limits { max_tokens: 5 max_model_len: 8 vocab_size: 10 } }";

TEST(StreamContractTest, TheFirstEventMaySayTheFirstPhase) {
  EXPECT_EQ(WrongWith({kUndecided, kReasoning, kReasoned, kAnswer, kFinished, kCompleted}), "");
  EXPECT_EQ(WrongWith({kUndecided, kAnswer,
                       "finished { reason: FINISH_REASON_END phase: PHASE_ANSWER token_ids: 2 "
                       "tokens { answer_tokens: 2 } }",
                       "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 "
                       "answer_tokens: 2 } }"}),
            "");
  EXPECT_EQ(WrongWith({kUndecided, kAnswer, kReasoning}), "ReasoningDelta came after AnswerDelta");
  EXPECT_EQ(WrongWith({kUndecided, kReasoning, kAnswer}), "AnswerDelta came after ReasoningDelta");
}

TEST(StreamContractTest, OnlyAnOpenTurnLeavesTheFirstPhaseOpen) {
  const auto wrong = [](const std::string& more) {
    return WrongWith({kUndecided}, Request("prompt { chat { " + more));
  };
  const std::string user = "messages { role: ROLE_USER } ";
  EXPECT_EQ(wrong(user + "} }"), "Started.first_phase is 0");
  EXPECT_EQ(wrong(user + "} } thinking { mode: THINKING_MODE_OFF }"), "Started.first_phase is 0");
  const std::string fine = "OK came after Started";
  EXPECT_EQ(wrong(user + "} } thinking { mode: THINKING_MODE_MODEL }"), fine);
  EXPECT_EQ(wrong(user + "messages { role: ROLE_TOOL } } }"), fine);
  EXPECT_EQ(WrongWith({kUndecided}, Request("prompt { text: 'x' }")), fine);
}

TEST(StreamContractTest, SamplingOfBothPhasesCountsAndMaxTokensMayBeClamped) {
  EXPECT_EQ(WrongWith({kStarted, kReasoning}, Request("sampling { logprobs: true }")),
            "the number of log-probabilities is 0, counted were 2");
  EXPECT_EQ(WrongWith({kStarted, kReasoning}, Request("sampling { logprobs: true } "
                                                      "reasoning_sampling { logprobs: false }")),
            "OK came after ReasoningDelta");
  EXPECT_EQ(WrongWith({kStarted}, Request("max_tokens: 6 clamp_max_tokens: true")),
            "OK came after Started");
  EXPECT_EQ(WrongWith({kStarted}, Request("max_tokens: 4 clamp_max_tokens: true")),
            "Started.limits.max_tokens is 5, asked for were 4");
}

TEST(StreamContractTest, EndOfSequenceInReasoningCountsThere) {
  EXPECT_EQ(WrongWith({kStarted, kReasoning,
                       "reasoning_finished { cause: REASONING_FINISH_CAUSE_END_OF_SEQUENCE "
                       "reasoning_tokens: 3 }",
                       "finished { reason: FINISH_REASON_END phase: PHASE_REASONING token_ids: 2 "
                       "tokens { reasoning_tokens: 3 } }",
                       "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 "
                       "reasoning_tokens: 3 } }"}),
            "");
}

constexpr char kProgress[] =
    "progress { reason: SILENCE_REASON_PREFILL computed_tokens: 1 total_tokens: 3 }";

TEST(StreamContractTest, ProgressComesWhereItWasAskedForAndBeforeTheEnd) {
  const v1::GenerateRequest asked = Request("progress: true");
  EXPECT_EQ(WrongWith({kQueued, kProgress, kStarted, kProgress, kReasoning, kProgress, kReasoned,
                       kAnswer, kProgress, kFinished, kCompleted},
                      asked),
            "");
  EXPECT_EQ(WrongWith({kStarted, kProgress}), "Progress came after Started");
  EXPECT_EQ(WrongWith({kProgress}, asked), "Progress came after nothing");
  EXPECT_EQ(WrongWith({kStarted, kReasoning, kReasoned, kAnswer, kFinished, kProgress}, asked),
            "Progress came after Finished");
  EXPECT_EQ(WrongWith({kStarted, "progress { total_tokens: 3 }"}, asked), "Progress.reason is 0");
  EXPECT_EQ(WrongWith({kStarted, "progress { reason: 9 }"}, asked), "Progress.reason is 9");
  EXPECT_EQ(WrongWith({kStarted,
                       "progress { reason: SILENCE_REASON_WAITING computed_tokens: 2 "
                       "total_tokens: 1 }"},
                      asked),
            "Progress.computed_tokens is 2 of 1");
}

// What is wrong with a stream of one that was told to end without an answer.
std::string WrongUnanswered(const std::vector<std::string>& events) {
  StreamContract contract(Request());
  contract.MayEndUnanswered();
  for (const std::string& event : events) {
    const absl::Status status = contract.Add(Event(event));
    if (!status.ok()) return std::string(status.message());
  }
  return std::string(contract.End().message());
}

TEST(StreamContractTest, OnlyWhoWasToldSoEndsWithoutAnAnswer) {
  for (const std::string reason : {"LOOP", "LENGTH"}) {
    const std::string reasoned =
        "reasoning_finished { reasoning_tokens: 2 cause: "
        "REASONING_FINISH_CAUSE_" +
        reason + " }";
    const std::string finished =
        "finished { phase: PHASE_REASONING tokens { reasoning_tokens: 2 } "
        "reason: FINISH_REASON_" +
        reason + " }";
    const std::vector<std::string> events = {
        kStarted, kReasoning, reasoned, finished,
        "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 reasoning_tokens: 2 } }"};
    EXPECT_EQ(WrongUnanswered(events), "");
    EXPECT_NE(WrongWith(events), "");
  }
  EXPECT_EQ(WrongUnanswered({kStarted, kReasoning, kReasoned, kAnswer, kFinished, kCompleted}), "")
      << "it may have closed its reasoning before";
}

constexpr char kRestarted[] =
    "restarted { prompt_tokens: 4 first_phase: PHASE_REASONING fingerprint: 'g' "
    "cause: REASONING_FINISH_CAUSE_LOOP "
    "limits { max_tokens: 5 max_model_len: 9 vocab_size: 20 } }";
constexpr char kCompletedAnew[] =
    "completed { usage { prompt_tokens: 4 cached_prompt_tokens: 2 reasoning_tokens: 3 "
    "answer_tokens: 2 discarded_tokens: 2 } }";

// Where another variant may stand in.
std::string WrongWithAnew(const std::vector<std::string>& events) {
  return WrongWith(events, Request("wishes { may_substitute: true }"));
}

TEST(StreamContractTest, ARestartBeginsAllAgain) {
  const std::string later = "reasoning_delta { token_ids: [15, 6] }";  // of its vocabulary
  EXPECT_EQ(WrongWithAnew({kStarted, kReasoning, kRestarted, later, kReasoned, kAnswer, kFinished,
                           kCompletedAnew}),
            "");
  EXPECT_EQ(WrongWithAnew({kStarted, kRestarted, kReasoning, kMoved, kRestarted, kReasoning,
                           kReasoned, kAnswer, kFinished,
                           "completed { resumes: 1 usage { prompt_tokens: 4 reasoning_tokens: 3 "
                           "answer_tokens: 2 discarded_tokens: 7 } }"}),
            "");
  EXPECT_EQ(
      WrongWithAnew({kStarted, kReasoning, kRestarted, kReasoning, kReasoned, kAnswer, kFinished,
                     "completed { usage { prompt_tokens: 4 reasoning_tokens: 3 "
                     "answer_tokens: 2 discarded_tokens: 1 } }"}),
      "usage.discarded_tokens is 1");
}

TEST(StreamContractTest, ARestartHasItsPlace) {
  EXPECT_EQ(WrongWith({kStarted, kReasoning, kRestarted}), "Restarted came after ReasoningDelta")
      << "nobody allows it";
  EXPECT_EQ(WrongWithAnew({kQueued, kRestarted}), "Restarted came after Queued");
  EXPECT_EQ(WrongWithAnew({kStarted, kReasoning, kReasoned, kRestarted}),
            "Restarted came after ReasoningFinished");
  EXPECT_EQ(WrongWithAnew({kAnswerFirst, kAnswer, kRestarted}), "Restarted came after AnswerDelta");
  EXPECT_EQ(
      WrongWithAnew({kStarted, kReasoning, kReasoned, kAnswer, kFinished, kCompleted, kRestarted}),
      "Restarted came after Completed");
  EXPECT_EQ(WrongWithAnew({kStarted, kRestarted, kRestarted, kRestarted}),
            "Restarted came after Restarted");
  EXPECT_EQ(WrongWithAnew({kStarted, "restarted { cause: REASONING_FINISH_CAUSE_BUDGET }"}),
            "Restarted.cause is 2");
  EXPECT_EQ(WrongWithAnew({kStarted,
                           "restarted { cause: REASONING_FINISH_CAUSE_LENGTH "
                           "prompt_tokens: 4 }"}),
            "Started.fingerprint has 0 bytes");
}

TEST(StreamContractTest, EveryEventHasItsPlace) {
  struct Case {
    std::vector<std::string> events;
    const char* wrong;
  };
  const Case cases[] = {
      {{kReasoning}, "ReasoningDelta came after nothing"},
      {{kCompleted}, "Completed came after nothing"},
      {{kMoved}, "Moved came after nothing"},
      {{kStarted, kQueued}, "Queued came after Started"},
      {{kStarted, kStarted}, "Started came after Started"},
      {{kStarted, kAnswer}, "AnswerDelta came after Started"},
      {{kStarted, kReasoning, kAnswer}, "AnswerDelta came after ReasoningDelta"},
      {{kStarted, kReasoning, kReasoned, kReasoning},
       "ReasoningDelta came after ReasoningFinished"},
      {{kAnswerFirst, kReasoning}, "ReasoningDelta came after Started"},
      {{kStarted, kReasoning, kFinished}, "Finished came after ReasoningDelta"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kReasoned},
       "ReasoningFinished came after AnswerDelta"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kCompleted}, "Completed came after AnswerDelta"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kFinished, kAnswer},
       "AnswerDelta came after Finished"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kFinished, kFinished},
       "Finished came after Finished"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kFinished, kCompleted, kAnswer},
       "AnswerDelta came after Completed"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kFinished, kCompleted, kMoved},
       "Moved came after Completed"},
      {{kStarted, ""}, "nothing came after Started"},
      {{kStarted, kReasoning, kReasoned, kAnswer, kFinished}, "OK came after Finished"},
      {{}, "OK came after nothing"},
  };
  for (const Case& a_case : cases) EXPECT_EQ(WrongWith(a_case.events), a_case.wrong);
}

// The whole stream with `event` in place of the one of its kind.
std::vector<std::string> With(const std::string& event) {
  std::vector<std::string> events = {kStarted, kReasoning, kReasoned,
                                     kAnswer,  kFinished,  kCompleted};
  for (std::string& other : events) {
    if (Event(other).event_case() == Event(event).event_case()) other = event;
  }
  return events;
}

// `event` with fields set over.
std::string Set(const std::string& event, const std::string& fields) {
  v1::GenerateResponse changed = Event(event);
  changed.MergeFrom(Event(fields));
  return changed.ShortDebugString();
}

TEST(StreamContractTest, WhatIsSaidMustBeWhatIs) {
  struct Case {
    std::string event;
    const char* wrong;
  };
  const Case cases[] = {
      {Set(kStarted, "started { prompt_tokens: 4 }"),
       "Started.limits.max_tokens is 5 of 8 after a prompt of 4"},
      {Set(kStarted, "started { prompt_tokens: -3 }"), "Started.cached_prompt_tokens is 1 of -3"},
      {Set(kStarted, "started { cached_prompt_tokens: 4 }"),
       "Started.cached_prompt_tokens is 4 of 3"},
      {Set(kStarted, "started { first_phase: 9 }"), "Started.first_phase is 9"},
      {Set(kStarted, absl::StrCat("started { fingerprint: '", std::string(300, 'f'), "' }")),
       "Started.fingerprint has 300 bytes"},
      {Set(kStarted, "started { limits { vocab_size: -1 } }"), "Started.limits.vocab_size is -1"},
      {"reasoning_delta { token_ids: [5, 10] }", "ReasoningDelta has the id 10, the vocabulary 10"},
      {"reasoning_delta { token_ids: [-1, 6] }", "ReasoningDelta has the id -1, the vocabulary 10"},
      {"reasoning_delta { token_ids: [5, 6] output_index: 1 }",
       "ReasoningDelta is of output 1 of 1"},
      {"reasoning_delta { token_ids: [5, 6] output_index: -1 }",
       "ReasoningDelta is of output -1 of 1"},
      {"reasoning_delta { token_ids: [5, 6] logprobs { logprob: -1 } }",
       "the number of log-probabilities is 1, counted were 0"},
      {"reasoning_delta { token_ids: [1, 2, 3, 4, 5, 6] }",
       "the output has 6 tokens, max_tokens is 5"},
      {"answer_delta { }", "AnswerDelta is empty"},
      {Set(kReasoned, "reasoning_finished { reasoning_tokens: 2 }"),
       "ReasoningFinished.reasoning_tokens is 2, counted were 3"},
      {Set(kReasoned, "reasoning_finished { cause: 77 }"),
       "ReasoningFinished.cause is 77 with 1 ids"},
      {Set(kReasoned, "reasoning_finished { cause: REASONING_FINISH_CAUSE_LENGTH }"),
       "ReasoningFinished.cause is 6 with 1 ids"},
      {Set(kReasoned, "reasoning_finished { forced: true }"),
       "ReasoningFinished.cause is 1 with 1 forced ids"},
      {Set(kReasoned, "reasoning_finished { duration { seconds: -1 } }"),
       "ReasoningFinished.duration is negative"},
      {Set(kFinished, "finished { tokens { answer_tokens: 1 } }"),
       "Finished.tokens.answer_tokens is 1, counted were 2"},
      {Set(kFinished, "finished { tokens { reasoning_tokens: 9 } }"),
       "Finished.tokens.reasoning_tokens is 9, counted were 3"},
      {Set(kFinished, "finished { phase: PHASE_REASONING }"), "Finished.phase is 1"},
      {Set(kFinished, "finished { reason: 99 }"), "Finished.reason is 99 with 1 ids"},
      {Set(kFinished, "finished { reason: FINISH_REASON_LENGTH }"),
       "Finished.reason is 4 with 1 ids"},
      {Set(kFinished, "finished { token_ids: 3 }"), "the output has 6 tokens, max_tokens is 5"},
      {Set(kFinished, "finished { stop_string: 'x' }"), "Finished.stop_string has 1 bytes"},
      {Set(kFinished, "finished { stop_token_id: 8 }"), "Finished.stop_token_id is 8"},
      {"finished { reason: FINISH_REASON_STOP_STRING stop_string: 'x' phase: PHASE_ANSWER }",
       "Finished.stop_string has 1 bytes"},
      {"finished { reason: FINISH_REASON_LENGTH phase: PHASE_ANSWER }",
       "the output has 4 tokens, max_tokens is 5"},
      {Set(kCompleted, "completed { usage { prompt_tokens: 4 } }"),
       "usage.prompt_tokens is 4, counted were 3"},
      {Set(kCompleted, "completed { usage { cached_prompt_tokens: 3 } }"),
       "usage.cached_prompt_tokens is 3, counted were 1"},
      {Set(kCompleted, "completed { usage { reasoning_tokens: 1000 } }"),
       "usage.reasoning_tokens is 1000, counted were 3"},
      {Set(kCompleted, "completed { usage { answer_tokens: 1 } }"),
       "usage.answer_tokens is 1, counted were 2"},
      {Set(kCompleted, "completed { usage { forced_tokens: 1 } }"),
       "usage.forced_tokens is 1, counted were 0"},
      {Set(kCompleted, "completed { usage { discarded_tokens: -1 } }"),
       "usage.discarded_tokens is -1"},
      {Set(kCompleted, "completed { resumes: 1 }"), "Completed.resumes is 1, counted were 0"},
      {Set(kCompleted, "completed { votes { answer: '2' } }"),
       "the number of votes is 1, counted were 0"},
      {Set(kCompleted, "completed { timings { queue { nanos: -1 } } }"),
       "timings.queue is negative"},
  };
  for (const Case& a_case : cases) {
    EXPECT_EQ(WrongWith(With(a_case.event)), a_case.wrong) << a_case.event;
  }
}

TEST(StreamContractTest, WhatWasAskedForMustBeWhatComes) {
  EXPECT_EQ(WrongWith(With(kStarted), Request("seed: 7 max_tokens: 5")), "");
  EXPECT_EQ(WrongWith(With(kStarted), Request("seed: 8")), "Started.seed is another");
  EXPECT_EQ(WrongWith(With(kStarted), Request("max_tokens: 4")),
            "Started.limits.max_tokens is 5, asked for were 4");
  EXPECT_EQ(WrongWith(With(kStarted), Request("prompt { token_ids { ids: [1, 1] } }")),
            "Started.prompt_tokens is 3, counted were 2");
  EXPECT_EQ(WrongWith(With(kStarted), Request("ignore_eos: true")),
            "Finished.reason is 1 with 1 ids");
}

TEST(StreamContractTest, LogprobsAreNumbersAndAsManyAsIds) {
  const v1::GenerateRequest request =
      Request("reasoning_sampling { logprobs: true top_logprobs: 2 }");
  const auto wrong = [&](const std::string& logprobs) {
    return WrongWith({kStarted, absl::StrCat("reasoning_delta { token_ids: 5 ", logprobs, " }")},
                     request);
  };
  constexpr char kFine[] = "OK came after ReasoningDelta";
  EXPECT_EQ(wrong("logprobs { logprob: -0.5 }"), kFine);
  EXPECT_EQ(wrong("logprobs { logprob: 0 alternatives { token_id: 5 } alternatives { token_id: 6 "
                  "logprob: -9 } }"),
            kFine);
  EXPECT_EQ(wrong(""), "the number of log-probabilities is 0, counted were 1");
  EXPECT_EQ(wrong("logprobs { logprob: nan }"), "a log-probability is nan");
  EXPECT_EQ(wrong("logprobs { logprob: -inf }"), "a log-probability is -inf");
  EXPECT_EQ(wrong("logprobs { logprob: 0.5 }"), "a log-probability is 0.5");
  EXPECT_EQ(wrong("logprobs { alternatives { token_id: 10 } }"),
            "an alternative is 10 at 0 after 0");
  EXPECT_EQ(wrong("logprobs { alternatives { logprob: nan } }"),
            "an alternative is 0 at nan after 0");
  EXPECT_EQ(wrong("logprobs { alternatives { logprob: -2 } alternatives { logprob: -1 } }"),
            "an alternative is 0 at -1 after -2");
  EXPECT_EQ(wrong("logprobs { alternatives { } alternatives { } alternatives { } }"),
            "3 alternatives came, asked for were 2");
}

TEST(StreamContractTest, TokensTellTheirBytesWhereTheyWereAskedFor) {
  const auto wrong = [&](const std::string& logprob, const std::string& asked) {
    return WrongWith(
        {kStarted, absl::StrCat("reasoning_delta { token_ids: 5 logprobs { ", logprob, " } }")},
        Request(absl::StrCat("sampling { logprobs: true top_logprobs: 1 ", asked, " }")));
  };
  constexpr char kFine[] = "OK came after ReasoningDelta";
  constexpr char kAsked[] = "token_bytes: true";
  constexpr char kUnasked[] = "the bytes of a token came, which were not asked for";
  EXPECT_EQ(wrong("token: 'ab' silent_bytes: 2 alternatives { token: 'c' }", kAsked), kFine);
  EXPECT_EQ(wrong("", kAsked), kFine) << "an id that stands for nothing";
  EXPECT_EQ(wrong("token: 'ab' silent_bytes: 3", kAsked),
            "of the 2 bytes of a token 3 have no text");
  EXPECT_EQ(wrong("token: 'ab' silent_bytes: -1", kAsked),
            "of the 2 bytes of a token -1 have no text");
  EXPECT_EQ(wrong("token: 'ab'", ""), kUnasked);
  EXPECT_EQ(wrong("alternatives { token: 'c' }", ""), kUnasked);
}

TEST(StreamContractTest, StopsAreThoseThatWereAskedFor) {
  const v1::GenerateRequest request =
      Request("answer_sampling { stop_strings: 'x' stop_token_ids: 8 }");
  const auto wrong = [&](const std::string& finished) {
    std::vector<std::string> events = With(absl::StrCat(
        "finished { phase: PHASE_ANSWER tokens { reasoning_tokens: 3 answer_tokens: 1 } ", finished,
        " }"));
    events.back() =
        "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 reasoning_tokens: 3 "
        "answer_tokens: 1 } }";
    return WrongWith(events, request);
  };
  EXPECT_EQ(wrong("reason: FINISH_REASON_STOP_STRING stop_string: 'x'"), "");
  EXPECT_EQ(wrong("reason: FINISH_REASON_STOP_TOKEN stop_token_id: 8"), "");
  EXPECT_EQ(wrong("reason: FINISH_REASON_STOP_STRING"), "Finished.stop_string has 0 bytes");
  EXPECT_EQ(wrong("reason: FINISH_REASON_STOP_TOKEN stop_token_id: 7"),
            "Finished.stop_token_id is 7");
}

TEST(StreamContractTest, OfAConsensusOneOutputIsHeard) {
  const v1::GenerateRequest request = Request("consensus { max_samples: 3 }");
  const auto unheard = [](int index, const std::string& rest) {
    return absl::StrCat("finished { output_index: ", index, " phase: PHASE_ANSWER ", rest, " }");
  };
  const std::string ended = unheard(0, "reason: FINISH_REASON_END tokens { answer_tokens: 9 }");
  const std::string not_needed = unheard(1, "reason: FINISH_REASON_NOT_NEEDED");
  const std::string completed =
      "completed { votes { answer: '2' output_indexes: 2 } usage { prompt_tokens: 3 "
      "cached_prompt_tokens: 1 discarded_tokens: 9 } }";
  const std::string winner = unheard(2, "reason: FINISH_REASON_END");
  EXPECT_EQ(WrongWith({kStarted, ended, not_needed, winner, completed}, request), "");
  EXPECT_EQ(WrongWith({kStarted, not_needed, winner, completed}, request),
            "Completed came after Finished");
  EXPECT_EQ(WrongWith({kStarted, ended, ended}, request), "Finished came after Finished");
  EXPECT_EQ(WrongWith({kStarted, unheard(0, "")}, request),
            "Finished.reason is 0 with 0 log-probabilities");
  EXPECT_EQ(WrongWith({kStarted, unheard(3, "reason: FINISH_REASON_END")}, request),
            "Finished is of output 3 of 3");
  EXPECT_EQ(WrongWith({kStarted, kReasoning, kReasoned, kAnswer,
                       "finished { reason: FINISH_REASON_NOT_NEEDED phase: PHASE_ANSWER tokens { "
                       "reasoning_tokens: 3 answer_tokens: 1 } }"}),
            "Finished.reason is 6 with 0 ids");
}

TEST(StreamContractTest, EveryOutputFinishes) {
  const v1::GenerateRequest request = Request("n: 2");
  const std::string other =
      "finished { output_index: 1 reason: FINISH_REASON_END phase: PHASE_REASONING token_ids: 2 "
      "tokens { reasoning_tokens: 1 } }";
  std::vector<std::string> events = {kStarted, kReasoning, kReasoned, kAnswer, kFinished};
  events.push_back(kCompleted);
  EXPECT_EQ(WrongWith(events, request), "Completed came after Finished");
  events.back() = other;
  events.push_back(
      "completed { usage { prompt_tokens: 3 cached_prompt_tokens: 1 reasoning_tokens: 4 "
      "answer_tokens: 2 } }");
  EXPECT_EQ(WrongWith(events, request), "");
}

}  // namespace
}  // namespace thinkwire::rpc
