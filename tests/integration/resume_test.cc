// A worker that is lost or ends, and another one that goes on; a router that is lost.
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"
#include "tests/sanitized.h"
#include "tests/worker/serve/sent_state.h"

namespace thinkwire::integration {
namespace {

using Clock = std::chrono::steady_clock;

std::string Model() { return absl::StrCat("--model=", kTinyModel); }

// What a router has of one attempt.
struct Attempt {
  std::vector<v1::GenerateResponse> events;  // of the output
  v1::Started started;
  std::optional<v1::Completed> completed;
  std::vector<std::int32_t> prompt_ids;
  absl::Status status;

  std::vector<std::int32_t> ids() const {
    const v1::ResumeState state =
        worker::serve::StateAfter(prompt_ids, started.first_phase(), events);
    return {state.outputs(0).token_ids().begin(), state.outputs(0).token_ids().end()};
  }
  std::string text() const {
    std::string text;
    for (const v1::GenerateResponse& event : events) {
      if (event.has_reasoning_delta()) text += event.reasoning_delta().text();
      if (event.has_reasoning_finished())
        text += "<" + event.reasoning_finished().ShortDebugString();
      if (event.has_answer_delta()) text += event.answer_delta().text();
      if (event.has_finished()) text += "<" + event.finished().ShortDebugString();
    }
    return text;
  }
};

// The duration is the clock's.
void Take(v1::GenerateResponse event, Attempt& attempt) {
  if (event.has_started()) attempt.started = event.started();
  if (event.has_completed()) attempt.completed = event.completed();
  if (event.has_reasoning_finished()) event.mutable_reasoning_finished()->clear_duration();
  const bool of_output = event.has_reasoning_delta() || event.has_reasoning_finished() ||
                         event.has_answer_delta() || event.has_finished();
  if (of_output) attempt.events.push_back(std::move(event));
}

// Runs one attempt; once `tokens` have come `then` is called, once, and the stream read to its end.
Attempt RunAttempt(WorkerProcess& worker, const v1::WorkerGenerateRequest& request,
                   std::size_t tokens = 0, const std::function<void()>& then = nullptr) {
  Attempt attempt;
  grpc::ClientContext context;
  const auto stream = worker.stub().Generate(&context, request);
  bool told = then == nullptr;
  for (v1::WorkerGenerateResponse response; stream->Read(&response);) {
    if (response.has_prompt_ids()) {
      attempt.prompt_ids = {response.prompt_ids().ids().begin(), response.prompt_ids().ids().end()};
    }
    Take(response.event(), attempt);
    if (told || attempt.ids().size() < tokens) continue;
    then();
    told = true;
  }
  attempt.status = rpc::FromGrpc(stream->Finish());
  return attempt;
}

v1::WorkerGenerateRequest Wrapped(const v1::GenerateRequest& request) {
  v1::WorkerGenerateRequest wrapped;
  *wrapped.mutable_request() = request;
  wrapped.set_request_id("moved");
  wrapped.set_attempt(1);
  return wrapped;
}

v1::WorkerGenerateRequest After(const v1::GenerateRequest& request, const Attempt& lost) {
  v1::WorkerGenerateRequest next = Wrapped(request);
  next.mutable_request()->clear_prompt();
  next.set_attempt(2);
  next.set_expected_fingerprint(lost.started.fingerprint());
  *next.mutable_resume() =
      worker::serve::StateAfter(lost.prompt_ids, lost.started.first_phase(), lost.events);
  return next;
}

void ExpectWhole(const Attempt& lost, const Attempt& rest, const Attempt& whole) {
  ASSERT_TRUE(rest.status.ok()) << rest.status;
  Attempt joined = lost;
  joined.events.insert(joined.events.end(), rest.events.begin(), rest.events.end());
  EXPECT_EQ(joined.ids(), whole.ids());
  EXPECT_EQ(joined.text(), whole.text());
  ASSERT_TRUE(rest.completed);
  EXPECT_EQ(rest.completed->usage().reasoning_tokens(),
            whole.completed->usage().reasoning_tokens());
  EXPECT_EQ(rest.completed->usage().answer_tokens(), whole.completed->usage().answer_tokens());
}

// Long, with penalties, so that what was drawn before matters to what is drawn next.
v1::GenerateRequest LongRequest() {
  v1::GenerateRequest request = Ask("What is 17+25?", 3);
  request.set_ignore_eos(true);
  request.set_max_tokens(300);
  request.mutable_sampling()->set_frequency_penalty(0.3F);
  request.mutable_sampling()->set_temperature(1);
  return request;
}

TEST(ResumeTest, AnotherWorkerGoesOnWhereOneWasKilled) {
  WorkerProcess survivor({Model()});
  ASSERT_TRUE(survivor.listening());
  const v1::GenerateRequest request = LongRequest();
  const Attempt whole = RunAttempt(survivor, Wrapped(request));
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  int num_lost = 0;
  for (const std::size_t tokens : {1U, 40U, 170U}) {
    SCOPED_TRACE(tokens);
    WorkerProcess victim({Model()});
    ASSERT_TRUE(victim.listening());
    const Attempt lost = RunAttempt(victim, Wrapped(request), tokens,
                                    [&victim] { victim.process().Signal(SIGKILL); });
    if (lost.status.ok()) continue;  // it was faster
    ++num_lost;
    EXPECT_EQ(lost.status.code(), absl::StatusCode::kUnavailable) << lost.status;
    EXPECT_GE(lost.ids().size(), tokens);
    ExpectWhole(lost, RunAttempt(survivor, After(request, lost)), whole);
  }
  EXPECT_GT(num_lost, 0);
  EXPECT_TRUE(survivor.WaitUntilIdle());
}

// Up to the first event with ids that were forced, of which there are more.
void CutWithinTheClosing(Attempt& attempt) {
  const auto is_forced = [](const v1::GenerateResponse& event) {
    return event.reasoning_delta().forced();
  };
  const auto first = std::ranges::find_if(attempt.events, is_forced);
  ASSERT_NE(first, attempt.events.end());
  attempt.events.erase(first + 1, attempt.events.end());
}

TEST(ResumeTest, AnotherWorkerGoesOnWithinAForcedClosing) {
  constexpr int kBudget = 120;
  WorkerProcess survivor({Model()});
  WorkerProcess victim({Model()});
  ASSERT_TRUE(survivor.listening() && victim.listening());
  v1::GenerateRequest request = LongRequest();
  request.set_max_tokens(450);
  request.mutable_thinking()->set_budget_tokens(kBudget);
  request.mutable_thinking()->set_min_tokens(kBudget);
  request.mutable_thinking()->set_continue_text("");  // it does not end by itself
  std::string closing;
  for (int i = 10; i < 20; ++i) absl::StrAppend(&closing, " ", i, " and that is due.");
  request.mutable_thinking()->set_closing_text(closing);
  const Attempt whole = RunAttempt(survivor, Wrapped(request));
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  ASSERT_GT(whole.completed->usage().forced_tokens(), 32) << "several events";
  const auto drawn =
      static_cast<std::size_t>(kBudget + 1 - whole.completed->usage().forced_tokens());
  Attempt lost = RunAttempt(victim, Wrapped(request), drawn + 1,
                            [&victim] { victim.process().Signal(SIGKILL); });
  CutWithinTheClosing(lost);
  ASSERT_LT(lost.ids().size(), std::size_t{kBudget});
  ExpectWhole(lost, RunAttempt(survivor, After(request, lost)), whole);
  EXPECT_TRUE(survivor.WaitUntilIdle());
}

TEST(ResumeTest, AShortAnswerGoesOnFromAnyOfItsTokens) {
  WorkerProcess worker({Model()});
  ASSERT_TRUE(worker.listening());
  const v1::GenerateRequest request = Ask("What is 17+25?", 5);
  const Attempt whole = RunAttempt(worker, Wrapped(request));
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  Attempt lost = whole;
  while (!lost.events.empty()) {
    lost.events.pop_back();
    ExpectWhole(lost, RunAttempt(worker, After(request, lost)), whole);
  }
}

TEST(ResumeTest, TheEndOfADrainHandsOverWhatStillRuns) {
  WorkerProcess survivor({Model()});
  WorkerProcess leaving({Model(), "--drain_timeout_s=0"});
  ASSERT_TRUE(survivor.listening() && leaving.listening());
  v1::GenerateRequest request = LongRequest();
  request.set_max_tokens(900);
  const Attempt whole = RunAttempt(survivor, Wrapped(request));
  ASSERT_TRUE(whole.status.ok()) << whole.status;
  const Attempt lost =
      RunAttempt(leaving, Wrapped(request), 30, [&leaving] { leaving.process().Signal(SIGTERM); });
  ASSERT_EQ(lost.status.code(), absl::StatusCode::kUnavailable) << lost.status;
  EXPECT_EQ(rpc::ErrorReason(lost.status), "DRAINING");
  EXPECT_TRUE(rpc::RetryAfter(lost.status));
  EXPECT_EQ(leaving.process().Wait(), 0) << leaving.process().error();
  ExpectWhole(lost, RunAttempt(survivor, After(request, lost)), whole);
}

// Streams that go through a router to `worker`, until it is lost.
class LostRouterTest : public testing::Test {
 protected:
  void SetUp() override {
    worker_ = std::make_unique<WorkerProcess>(std::vector<std::string>{Model()});
    ASSERT_TRUE(worker_->listening());
    router_ =
        std::make_unique<RouterProcess>("tiny-r1", absl::StrCat("127.0.0.1:", worker_->port()));
  }

  // Asks for something endless and returns once its first token has come.
  void Begin() {
    v1::GenerateRequest request = LongRequest();
    request.clear_max_tokens();
    stream_ = router_->stub().Generate(&context_, request);
    for (v1::GenerateResponse event; stream_->Read(&event);) {
      if (event.has_reasoning_delta()) return;
    }
    FAIL() << "nothing came";
  }

  // What the worker shows of itself comes a little later.
  bool WaitUntilRunning() {
    const auto give_up = Clock::now() + kPatience;
    while (Clock::now() < give_up) {
      if (worker_->Metric("thinkwire_worker_running_requests") == 1.0) return true;
      std::this_thread::yield();
    }
    return false;
  }

  std::unique_ptr<WorkerProcess> worker_;
  std::unique_ptr<RouterProcess> router_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> stream_;
};

TEST_F(LostRouterTest, AWorkerNoticesAKilledRouterAndFreesWhatItHad) {
  Begin();
  ASSERT_TRUE(WaitUntilRunning());
  router_->process().Signal(SIGKILL);
  const auto killed = Clock::now();
  EXPECT_TRUE(worker_->WaitUntilIdle());
  const auto took = Clock::now() - killed;
  EXPECT_LT(took, std::chrono::seconds(kSanitized ? 5 : 1));
  RecordProperty("milliseconds", static_cast<int>(took / std::chrono::milliseconds(1)));
}

// Its machine still answers for it. A server's ordinary keepalive would take thirty seconds.
TEST_F(LostRouterTest, AWorkerNoticesAStoppedRouterAndFreesWhatItHad) {
  Begin();
  ASSERT_TRUE(WaitUntilRunning());
  router_->process().Signal(SIGSTOP);
  const auto stopped = Clock::now();
  EXPECT_TRUE(worker_->WaitUntilIdle());
  const auto took = Clock::now() - stopped;
  EXPECT_LT(took, std::chrono::seconds(20));
  RecordProperty("milliseconds", static_cast<int>(took / std::chrono::milliseconds(1)));
}

}  // namespace
}  // namespace thinkwire::integration
