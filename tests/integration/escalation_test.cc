// A request whose reasoning comes to no answer, over real processes: one model under two variants.

#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_contract.h"
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

Seen AskFor(RouterProcess& router, const std::string& variant, bool may_substitute) {
  v1::GenerateRequest request = Ask("What is 27+48?", 7);
  request.set_variant(variant);
  request.set_max_tokens(200);
  request.mutable_thinking()->set_min_tokens(190);  // more than are left beside the answer
  if (may_substitute) request.mutable_wishes()->set_may_substitute(true);
  rpc::StreamContract contract(request);
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

  std::unique_ptr<WorkerProcess> small_ = Serve("small");
  std::unique_ptr<WorkerProcess> better_ = Serve("better");
  RouterProcess router_{"small", absl::StrCat("127.0.0.1:", small_->port())};
};

TEST_F(EscalationTest, ItBeginsAnewWhereItCanAndElseAnswersAsItWouldHave) {
  ASSERT_TRUE(small_->listening() && better_->listening());
  const Seen alone = AskFor(router_, "small", true);
  EXPECT_EQ(alone.restarts, 0) << "nothing is configured";
  EXPECT_EQ(alone.cause, v1::REASONING_FINISH_CAUSE_BUDGET);
  Configure();

  const Seen anew = AskFor(router_, "small", true);
  ASSERT_EQ(anew.restarts, 1);
  EXPECT_EQ(anew.restarted.variant(), "better");
  EXPECT_EQ(anew.restarted.cause(), v1::REASONING_FINISH_CAUSE_LENGTH);
  EXPECT_GT(anew.void_tokens, 50);
  EXPECT_GE(anew.completed.usage().discarded_tokens(), anew.void_tokens);
  const Seen direct = AskFor(router_, "better", false);
  EXPECT_EQ(anew.ids, direct.ids) << "the same seed and limits";
  EXPECT_EQ(anew.text, direct.text);

  better_->process().Signal(SIGKILL);
  better_->process().Wait();
  const Seen stayed = AskFor(router_, "small", true);
  EXPECT_EQ(stayed.restarts, 0);
  EXPECT_EQ(stayed.ids, alone.ids) << "as if nobody had asked for more";
  EXPECT_EQ(stayed.text, alone.text);
  EXPECT_EQ(stayed.cause, alone.cause);
  EXPECT_EQ(router_.Metric("thinkwire_router_escalations_total",
                           "{cause=\"length\",outcome=\"restarted\",variant=\"small\"}"),
            1);
  EXPECT_EQ(router_.Metric("thinkwire_router_escalations_total",
                           "{cause=\"length\",outcome=\"stayed\",variant=\"small\"}"),
            1);
}

}  // namespace
}  // namespace thinkwire::integration
