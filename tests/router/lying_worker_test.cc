// What becomes of a stream whose worker does not keep to the contract.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "common/rpc/status_details.h"
#include "tests/router/service_fixture.h"

namespace thinkwire::router {
namespace {

// Where SmallStream has what.
enum : std::size_t { kQueued, kStarted, kReasoning, kReasoned, kAnswer, kFinished, kCompleted };

class LyingWorkerTest : public ReasoningServiceTest {
 protected:
  absl::Status Ask(FakeWorker::Script script, Events* events = nullptr) {
    small_.SetScript(std::move(script));
    v1::GenerateRequest request = Question();
    request.mutable_reasoning_sampling()->set_logprobs(true);
    return Generate(request, events);
  }
};

// An honest stream of that request.
Events Honest() {
  Events events = SmallStream();
  for (int i = 0; i < 2; ++i) {
    events[kReasoning].mutable_reasoning_delta()->add_logprobs()->set_logprob(-1);
  }
  events[kReasoned].mutable_reasoning_finished()->add_logprobs()->set_logprob(-1);
  return events;
}

struct Lie {
  const char* what;
  std::function<void(Events&)> tell;
};

void Insert(Events& events, std::size_t at, const v1::GenerateResponse& event) {
  events.insert(events.begin() + static_cast<std::ptrdiff_t>(at), event);
}
void Erase(Events& events, std::size_t at) {
  events.erase(events.begin() + static_cast<std::ptrdiff_t>(at));
}

const std::vector<Lie>& Lies() {
  static const auto& lies = *new std::vector<Lie>{
      {"no Started", [](Events& e) { Erase(e, kStarted); }},
      {"Started twice", [](Events& e) { Insert(e, kReasoning, e[kStarted]); }},
      {"Queued after Started", [](Events& e) { Insert(e, kReasoning, e[kQueued]); }},
      {"an answer before the reasoning is over",
       [](Events& e) { Insert(e, kReasoned, e[kAnswer]); }},
      {"reasoning in the answer", [](Events& e) { Insert(e, kFinished, e[kReasoning]); }},
      {"reasoning where the answer comes first",
       [](Events& e) { e[kStarted].mutable_started()->set_first_phase(v1::PHASE_ANSWER); }},
      {"no first phase", [](Events& e) { e[kStarted].mutable_started()->clear_first_phase(); }},
      {"no ReasoningFinished", [](Events& e) { Erase(e, kReasoned); }},
      {"a delta after Finished", [](Events& e) { Insert(e, kCompleted, e[kAnswer]); }},
      {"Finished twice", [](Events& e) { Insert(e, kCompleted, e[kFinished]); }},
      {"no Finished", [](Events& e) { Erase(e, kFinished); }},
      {"no Completed", [](Events& e) { e.pop_back(); }},
      {"no event at all", [](Events& e) { e.clear(); }},
      {"an event after Completed", [](Events& e) { e.push_back(e[kAnswer]); }},
      {"Completed twice", [](Events& e) { e.push_back(e[kCompleted]); }},
      {"Moved",
       [](Events& e) {
         v1::GenerateResponse moved;
         moved.mutable_moved()->set_worker("elsewhere");
         Insert(e, kAnswer, moved);
       }},
      {"an event that is none", [](Events& e) { Insert(e, kAnswer, {}); }},
      {"an output that nobody asked for",
       [](Events& e) { e[kAnswer].mutable_answer_delta()->set_output_index(1); }},
      {"an output below the first",
       [](Events& e) { e[kAnswer].mutable_answer_delta()->set_output_index(-1); }},
      {"an id beyond the vocabulary",
       [](Events& e) { e[kAnswer].mutable_answer_delta()->set_token_ids(0, 1000); }},
      {"a negative id", [](Events& e) { e[kAnswer].mutable_answer_delta()->set_token_ids(0, -1); }},
      {"another vocabulary than the status says",
       [](Events& e) { e[kStarted].mutable_started()->mutable_limits()->set_vocab_size(100'000); }},
      {"a log-probability that is no number",
       [](Events& e) {
         e[kReasoning].mutable_reasoning_delta()->mutable_logprobs(0)->set_logprob(NAN);
       }},
      {"an infinite log-probability",
       [](Events& e) {
         e[kReasoning].mutable_reasoning_delta()->mutable_logprobs(0)->set_logprob(
             -std::numeric_limits<float>::infinity());
       }},
      {"a probability above 1",
       [](Events& e) {
         e[kReasoning].mutable_reasoning_delta()->mutable_logprobs(0)->set_logprob(0.1F);
       }},
      {"too few log-probabilities",
       [](Events& e) {
         e[kReasoning].mutable_reasoning_delta()->mutable_logprobs()->RemoveLast();
       }},
      {"log-probabilities that nobody asked for",
       [](Events& e) { e[kAnswer].mutable_answer_delta()->add_logprobs()->set_logprob(-1); }},
      {"more prompt tokens than ids",
       [](Events& e) { e[kStarted].mutable_started()->set_prompt_tokens(30); }},
      {"more cached tokens than the prompt has",
       [](Events& e) { e[kStarted].mutable_started()->set_cached_prompt_tokens(4); }},
      {"more tokens than the limit",
       [](Events& e) {
         e[kReasoning].mutable_reasoning_delta()->mutable_token_ids()->Resize(1001, 7);
       }},
      {"a context that no model has",
       [](Events& e) {
         e[kStarted].mutable_started()->mutable_limits()->set_max_model_len(1 << 30);
       }},
      {"reasoning tokens that never came",
       [](Events& e) { e[kReasoned].mutable_reasoning_finished()->set_reasoning_tokens(300); }},
      {"no cause", [](Events& e) { e[kReasoned].mutable_reasoning_finished()->clear_cause(); }},
      {"no reason", [](Events& e) { e[kFinished].mutable_finished()->clear_reason(); }},
      {"the wrong phase",
       [](Events& e) { e[kFinished].mutable_finished()->set_phase(v1::PHASE_REASONING); }},
      {"an end for its length that is shorter",
       [](Events& e) {
         e[kFinished].mutable_finished()->clear_token_ids();
         e[kFinished].mutable_finished()->set_reason(v1::FINISH_REASON_LENGTH);
       }},
      {"answer tokens that never came",
       [](Events& e) {
         e[kFinished].mutable_finished()->mutable_tokens()->set_answer_tokens(200);
       }},
      {"a false bill",
       [](Events& e) {
         e[kCompleted].mutable_completed()->mutable_usage()->set_reasoning_tokens(30'000);
       }},
      {"a negative bill",
       [](Events& e) {
         e[kCompleted].mutable_completed()->mutable_usage()->set_discarded_tokens(-1);
       }},
      {"deltas without ids",
       [](Events& e) {
         v1::GenerateResponse delta;
         delta.mutable_reasoning_delta()->set_text("x");
         e.insert(e.begin() + kReasoned, 1000, delta);
       }},
      {"a megabyte of text in a token",
       [](Events& e) { e[kAnswer].mutable_answer_delta()->set_text(std::string(1 << 20, 'x')); }},
      {"Queued without end", [](Events& e) { e.insert(e.begin(), 4000, e[kQueued]); }},
      {"a take-over that nobody saw",
       [](Events& e) { e[kCompleted].mutable_completed()->set_resumes(1); }},
  };
  return lies;
}

TEST_F(LyingWorkerTest, EveryLieEndsTheStreamAsABrokenContract) {
  ASSERT_TRUE(Ask({.events = Honest()}).ok());
  EXPECT_GE(Lies().size(), 20u);
  for (const Lie& lie : Lies()) {
    Events events = Honest();
    lie.tell(events);
    Events passed;
    const absl::Status status = Ask({.events = events}, &passed);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << lie.what;
    EXPECT_EQ(rpc::ErrorReason(status), "WORKER_PROTOCOL") << lie.what;
    EXPECT_EQ(rpc::ErrorMetadata(status, "worker"), small_.address()) << lie.what;
    EXPECT_LE(passed.size(), 1000u) << lie.what;
  }
}

TEST_F(LyingWorkerTest, MessagesAreNumberedAndOfThisAttempt) {
  const std::vector<std::function<void(v1::WorkerGenerateResponse&)>> breaks = {
      [](auto& message) { message.set_attempt(2); },
      [](auto& message) { message.set_seq(message.seq() * 2); },
      [](auto& message) { message.clear_prompt_ids(); },
      [](auto& message) { message.mutable_prompt_ids()->add_ids(1); },
      [](auto& message) { message.mutable_prompt_ids()->mutable_ids()->Resize(3, 1000); },
      [](auto& message) { message.mutable_event()->mutable_started()->set_seed(12345); },
  };
  for (const auto& tamper : breaks) {
    const absl::Status status = Ask({.events = Honest(), .tamper = tamper});
    EXPECT_EQ(rpc::ErrorReason(status), "WORKER_PROTOCOL");
  }
}

TEST_F(LyingWorkerTest, ItsOwnWordsAreNotPassedOnAsOurs) {
  struct Case {
    absl::Status said;
    absl::StatusCode code;
    const char* reason;
  };
  using Code = absl::StatusCode;
  const Case cases[] = {
      {rpc::Error(Code::kNotFound, "VARIANT_NOT_FOUND", "evil"), Code::kInternal,
       "WORKER_PROTOCOL"},
      {rpc::Error(Code::kInternal, "QUEUE_FULL", "evil"), Code::kInternal, "WORKER_PROTOCOL"},
      {rpc::Error(Code::kUnauthenticated, "GIVE_ME_YOUR_TOKEN", "evil"), Code::kInternal,
       "WORKER_PROTOCOL"},
      {absl::DataLossError("evil"), Code::kInternal, "WORKER_PROTOCOL"},
      {absl::UnavailableError("evil"), Code::kUnavailable, "WORKER_LOST"},
      {rpc::Error(Code::kResourceExhausted, "SEND_MONEY", "evil"), Code::kResourceExhausted,
       "WORKER_LIMIT"},
  };
  Events some = Honest();
  some.resize(kReasoned);
  for (const Case& a_case : cases) {
    const absl::Status status = Ask({.events = some, .end = a_case.said});
    EXPECT_EQ(status.code(), a_case.code) << a_case.said;
    EXPECT_EQ(rpc::ErrorReason(status), a_case.reason) << a_case.said;
    EXPECT_EQ(status.message().find("evil"), absl::string_view::npos) << status;
  }
}

TEST_F(LyingWorkerTest, KnownReasonsPassHeldToOurRules) {
  absl::Status full =
      rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                                     "line one\nline two " + std::string(900, 'x')),
                          std::chrono::hours(24 * 365));
  full = rpc::WithMetadata(full, "look", "here");
  Events some = Honest();
  some.resize(kReasoned);
  const absl::Status status = Ask({.events = some, .end = full});
  EXPECT_EQ(rpc::ErrorReason(status), "QUEUE_FULL");
  EXPECT_EQ(status.message().find('\n'), absl::string_view::npos);
  EXPECT_LE(status.message().size(), 515u);
  EXPECT_EQ(rpc::ErrorMetadata(status, "look"), "");
  EXPECT_EQ(rpc::RetryAfter(status), std::chrono::minutes(1));
}

TEST_F(LyingWorkerTest, AnErrorAfterCompletedBreaksTheContractToo) {
  const absl::Status late = rpc::Error(absl::StatusCode::kInternal, "NOT_FINITE", "late");
  EXPECT_EQ(rpc::ErrorReason(Ask({.events = Honest(), .end = late})), "WORKER_PROTOCOL");
}

TEST_F(LyingWorkerTest, SignsOfLifeAreNotPassedOnAndNotWithoutEnd) {
  const auto hide = [](std::int64_t from, std::int64_t to) {
    return [=](v1::WorkerGenerateResponse& message) {
      if (message.seq() >= from && message.seq() < to) message.clear_event();
    };
  };
  Events events = Honest();
  events.insert(events.begin() + kReasoning, 10, {});
  Events passed;
  EXPECT_TRUE(Ask({.events = events, .tamper = hide(kReasoning, kReasoning + 10)}, &passed).ok());
  EXPECT_EQ(passed.size(), Honest().size());
  events.insert(events.begin() + kReasoning, 4000, {});
  const absl::Status endless =
      Ask({.events = events, .tamper = hide(kReasoning, kReasoning + 4010)});
  EXPECT_EQ(rpc::ErrorReason(endless), "WORKER_PROTOCOL") << endless;
  const absl::Status early = Ask({.events = Honest(), .tamper = hide(kStarted, kReasoning)});
  EXPECT_EQ(rpc::ErrorReason(early), "WORKER_PROTOCOL") << early;
}

TEST_F(LyingWorkerTest, AMessageLongerThanAnyHonestOneIsNotTaken) {
  Events events = Honest();
  events[kAnswer].mutable_answer_delta()->set_text(std::string(15 << 20, 'x'));
  const absl::Status status = Ask({.events = events});
  EXPECT_EQ(rpc::ErrorReason(status), "WORKER_LIMIT") << status;
}

// A worker that says of itself what no worker is draws nothing.
TEST_F(LyingWorkerTest, AStatusOutOfRangeIsNoLiveWorkers) {
  using Change = std::function<void(v1::WatchStatusResponse&)>;
  const std::pair<Change, const char*> lies[] = {
      {[](auto& status) { status.set_max_num_seqs(INT32_MAX); }, "max_num_seqs"},
      {[](auto& status) { status.set_max_num_seqs(0); }, "max_num_seqs"},
      {[](auto& status) { status.set_running((1 << 21) + 1); }, "running"},
      {[](auto& status) { status.set_queued(-1); }, "queued"},
      {[](auto& status) { status.set_free_kv_blocks(101); }, "free_kv_blocks"},
      {[](auto& status) { status.set_vocab_size(0); }, "vocab_size"},
      {[](auto& status) { status.set_request_revision(-1); }, "request_revision"},
      {[](auto& status) { status.set_max_model_len(1 << 30); }, "max_model_len"},
      {[](auto& status) { status.set_fingerprint(std::string(257, 'f')); }, "fingerprint"},
  };
  for (const auto& [lie, field] : lies) {
    small_.SetStatus(lie);
    ASSERT_TRUE(pool_.WaitForLive(0, 0)) << field;
    const absl::Status status = Generate(Question());
    EXPECT_EQ(rpc::ErrorReason(status), "NO_LIVE_WORKER") << field;
    EXPECT_NE(status.message().find(absl::StrCat("its status is wrong: ")), std::string::npos);
    EXPECT_NE(status.message().find(field), std::string::npos) << status;
    small_.SetStatus([](auto& status) {
      status.set_max_num_seqs(16);
      status.set_running(0);
      status.set_queued(0);
      status.set_free_kv_blocks(100);
      status.set_vocab_size(1000);
      status.set_request_revision(0);
      status.set_max_model_len(4096);
      status.set_fingerprint("fake");
    });
    ASSERT_TRUE(pool_.WaitForLive(0, 1)) << field;
  }
}

}  // namespace
}  // namespace thinkwire::router
