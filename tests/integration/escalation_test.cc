// A request whose reasoning comes to no answer, over real processes: one model under two variants.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_contract.h"
#include "router/client/stream_record.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

// What a client of the router has of one stream in the end.
struct Seen {
  int restarts = 0;
  v1::Restarted restarted;
  std::string text;               // of the last run, reasoning and answer
  std::vector<std::int32_t> ids;  // likewise
  v1::ReasoningFinishCause cause = v1::REASONING_FINISH_CAUSE_UNSPECIFIED;
  std::int64_t void_tokens = 0;
  v1::Completed completed;
};

template <class Event>
void Take(const Event& event, Seen& seen) {
  seen.ids.insert(seen.ids.end(), event.token_ids().begin(), event.token_ids().end());
}

void Take(const v1::GenerateResponse& event, Seen& seen) {
  if (event.has_restarted()) {
    ++seen.restarts;
    seen.restarted = event.restarted();
    seen.void_tokens += static_cast<std::int64_t>(seen.ids.size());
    seen.ids.clear();
    seen.text.clear();
  }
  seen.text += event.reasoning_delta().text() + event.answer_delta().text();
  Take(event.reasoning_delta(), seen);
  Take(event.reasoning_finished(), seen);
  Take(event.answer_delta(), seen);
  Take(event.finished(), seen);
  if (event.has_reasoning_finished()) seen.cause = event.reasoning_finished().cause();
  if (event.has_completed()) seen.completed = event.completed();
}

v1::GenerateRequest AskFor(const std::string& variant, bool may_substitute) {
  v1::GenerateRequest request = Ask("What is 27+48?", 7);
  request.set_variant(variant);
  if (may_substitute) request.mutable_wishes()->set_may_substitute(true);
  return request;
}

// More thinking than there is room for beside the answer.
v1::GenerateRequest AskTooLong(const std::string& variant, bool may_substitute) {
  v1::GenerateRequest request = AskFor(variant, may_substitute);
  request.set_max_tokens(200);
  request.mutable_thinking()->set_min_tokens(190);
  return request;
}

// What has been said is likelier to be said again, until nothing else is.
v1::GenerateRequest AskInCircles(const std::string& variant, bool may_substitute) {
  v1::GenerateRequest request = AskFor(variant, may_substitute);
  request.set_max_tokens(1000);
  request.mutable_reasoning_sampling()->set_frequency_penalty(-2);
  request.mutable_loop_limits()->set_max_repeats(2);
  return request;
}

Seen Read(RouterProcess& router, const v1::GenerateRequest& request) {
  rpc::StreamContract contract(request);
  if (request.has_resume()) contract.Resume(request.resume());
  grpc::ClientContext context;
  const auto stream = router.stub().Generate(&context, request);
  Seen seen;
  for (v1::GenerateResponse event; stream->Read(&event);) {
    const absl::Status status = contract.Add(event);
    EXPECT_TRUE(status.ok()) << status << event.ShortDebugString();
    Take(event, seen);
  }
  const absl::Status end = rpc::FromGrpc(stream->Finish());
  EXPECT_TRUE(end.ok()) << end;
  EXPECT_TRUE(contract.End().ok());
  return seen;
}

// What its client asks next who has lost it after so many tokens of thought.
v1::GenerateRequest LoseAfter(RouterProcess& router, const v1::GenerateRequest& request,
                              std::size_t tokens) {
  grpc::ClientContext context;
  const auto stream = router.stub().Generate(&context, request);
  router::client::StreamRecord record(request);
  Seen seen;
  for (v1::GenerateResponse event; seen.ids.size() < tokens && stream->Read(&event);) {
    record.Add(event);
    Take(event, seen);
  }
  EXPECT_EQ(seen.restarts, 0);
  EXPECT_GE(seen.ids.size(), tokens);
  context.TryCancel();
  return record.NextRequest();
}

class EscalationTest : public testing::Test {
 protected:
  static std::unique_ptr<WorkerProcess> Serve(const std::string& variant) {
    return std::make_unique<WorkerProcess>(std::vector<std::string>{
        absl::StrCat("--model=", kTinyModel), absl::StrCat("--served_model_name=", variant)});
  }
  void Configure() {
    router_.Configure(
        absl::StrCat("variants:\n- {name: small, workers: ['127.0.0.1:", small_->port(),
                     "'], escalate_to: better}\n- {name: better, workers: "
                     "['127.0.0.1:",
                     better_->port(), "']}\n"));
    router_.process().Signal(SIGHUP);
    ASSERT_TRUE(router_.process().WaitForErrorLine("configuration reloaded"));
  }

  std::optional<double> Escalations(const std::string& cause, const std::string& outcome) {
    return router_.Metric(
        "thinkwire_router_escalations_total",
        absl::StrCat("{cause=\"", cause, "\",outcome=\"", outcome, "\",variant=\"small\"}"));
  }

  std::unique_ptr<WorkerProcess> small_ = Serve("small");
  std::unique_ptr<WorkerProcess> better_ = Serve("better");
  RouterProcess router_{"small", absl::StrCat("127.0.0.1:", small_->port())};
};

TEST_F(EscalationTest, ItBeginsAnewWhereItCanAndElseAnswersAsItWouldHave) {
  ASSERT_TRUE(small_->listening() && better_->listening());
  const Seen alone = Read(router_, AskTooLong("small", true));
  EXPECT_EQ(alone.restarts, 0) << "nothing is configured";
  EXPECT_EQ(alone.cause, v1::REASONING_FINISH_CAUSE_BUDGET);
  EXPECT_TRUE(router_.process().WaitForErrorLine("\"cause\":\"named\"")) << "why that variant";
  Configure();

  const Seen anew = Read(router_, AskTooLong("small", true));
  ASSERT_EQ(anew.restarts, 1);
  EXPECT_EQ(anew.restarted.variant(), "better");
  EXPECT_EQ(anew.restarted.cause(), v1::REASONING_FINISH_CAUSE_LENGTH);
  EXPECT_GT(anew.restarted.effective().closing_token_ids_size(), 0) << "as Started would tell";
  EXPECT_GT(anew.void_tokens, 50);
  EXPECT_GE(anew.completed.usage().discarded_tokens(), anew.void_tokens);
  const Seen direct = Read(router_, AskTooLong("better", false));
  EXPECT_EQ(anew.ids, direct.ids) << "the same seed and limits";
  EXPECT_EQ(anew.text, direct.text);

  better_->process().Signal(SIGKILL);
  better_->process().Wait();
  const Seen stayed = Read(router_, AskTooLong("small", true));
  EXPECT_EQ(stayed.restarts, 0);
  EXPECT_EQ(stayed.ids, alone.ids) << "as if nobody had asked for more";
  EXPECT_EQ(stayed.text, alone.text);
  EXPECT_EQ(stayed.cause, alone.cause);
  EXPECT_EQ(Escalations("length", "restarted"), 1);
  EXPECT_EQ(Escalations("length", "stayed"), 1);
}

TEST_F(EscalationTest, ReasoningInCirclesBeginsAnewToo) {
  ASSERT_TRUE(small_->listening() && better_->listening());
  const Seen alone = Read(router_, AskInCircles("small", true));
  EXPECT_EQ(alone.cause, v1::REASONING_FINISH_CAUSE_LOOP) << "nothing is configured";
  Configure();
  const Seen anew = Read(router_, AskInCircles("small", true));
  ASSERT_EQ(anew.restarts, 1);
  EXPECT_EQ(anew.restarted.cause(), v1::REASONING_FINISH_CAUSE_LOOP);
  EXPECT_EQ(anew.restarted.reason(), "small went in circles");
  EXPECT_GE(anew.completed.usage().discarded_tokens(), anew.void_tokens);
  EXPECT_EQ(anew.cause, v1::REASONING_FINISH_CAUSE_LOOP) << "one model under both names";
  EXPECT_EQ(anew.ids, Read(router_, AskInCircles("better", false)).ids);
  EXPECT_EQ(Escalations("loop", "restarted"), 1);
}

TEST_F(EscalationTest, AStreamThatWentOnElsewhereStillBeginsAnew) {
  ASSERT_TRUE(small_->listening() && better_->listening());
  Configure();
  for (const auto& request : {AskTooLong("small", true), AskInCircles("small", true)}) {
    const v1::GenerateRequest next = LoseAfter(router_, request, 40);
    EXPECT_EQ(next.variant(), "small");
    const Seen anew = Read(router_, next);
    ASSERT_EQ(anew.restarts, 1);
    const std::int64_t brought = next.resume().outputs(0).token_ids_size();
    EXPECT_GE(anew.completed.usage().discarded_tokens(), brought + anew.void_tokens);
    v1::GenerateRequest direct = request;
    direct.set_variant("better");
    EXPECT_EQ(anew.ids, Read(router_, direct).ids);
  }
}

}  // namespace
}  // namespace thinkwire::integration
