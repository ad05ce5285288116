#include "router/answering.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/channel.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fake_fleet.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;

constexpr std::chrono::seconds kPatience{60};

// Two workers, each of which thinks and does not end.
class AnsweringTest : public FakeFleetTest {
 protected:
  AnsweringTest() : FakeFleetTest(2) {
    for (FakeWorker& worker : workers_) worker.SetScript(Thinking());
    EXPECT_TRUE(pool_.TickUntilLive());
  }
  ~AnsweringTest() override {
    for (const auto& generation : generations_) generation->Cancel();
    EXPECT_TRUE(running_.WaitUntilNone(kPatience));
  }

  // Queued, Started and some thought.
  static FakeWorker::Script Thinking() {
    auto events = SmallStream();
    events.resize(3);
    return {.events = events, .stays_open = true};
  }

  absl::StatusOr<std::int32_t> AnswerNow(const std::string& request_id,
                                         const std::string& tenant = "",
                                         std::int64_t worker_calls = kMaxAnswerNowCalls) {
    v1::AnswerNowRequest request;
    request.set_request_id(request_id);
    const std::string peer = tenant.empty() ? "" : absl::StrCat(rpc::kTenantPeer, tenant);
    rpc::Shares calls(worker_calls);
    const auto told = std::make_shared<std::promise<absl::StatusOr<std::int32_t>>>();
    Answering::Start(
        {.pool = *pool_,
         .registry = registry_,
         .worker_calls = calls,
         .running = running_,
         .num_routers = num_routers_},
        {.tenant = tenant, .peer = peer}, request,
        [told](const absl::StatusOr<std::int32_t>& outputs) { told->set_value(outputs); });
    auto outputs = told->get_future().get();
    EXPECT_TRUE(running_.WaitUntilNone(kPatience));  // then `calls` may go
    return outputs;
  }

  rpc::CallCount running_;
  std::int32_t num_routers_ = 1;
};

TEST_F(AnsweringTest, TellsTheWorkerThatHasTheRequest) {
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(3));
  EXPECT_EQ(*AnswerNow(latest().request_id()), 1);
  ASSERT_EQ(workers_[0].answers_now().size(), 1u);
  EXPECT_EQ(workers_[0].answers_now()[0].request.request_id(), latest().request_id());
  EXPECT_FALSE(workers_[0].answers_now()[0].request.has_output_index());
  EXPECT_TRUE(workers_[1].answers_now().empty());
}

TEST_F(AnsweringTest, ChangesNothingOnceTheAnswerHasBegun) {
  auto events = SmallStream();
  events.resize(5);
  workers_[0].SetScript({.events = events, .stays_open = true});
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(5));
  EXPECT_EQ(*AnswerNow(latest().request_id()), 0);
  EXPECT_TRUE(workers_[0].answers_now().empty());
}

TEST_F(AnsweringTest, AWorkerHearsOfItThatBeginsLater) {
  workers_[0].SetScript({.stays_open = true});  // it says nothing
  Ask();
  ASSERT_TRUE(workers_[0].WaitForCalls(1));
  EXPECT_EQ(*AnswerNow(latest().request_id()), 1);
  EXPECT_EQ(*AnswerNow(latest().request_id()), 0) << "it waits already";
  EXPECT_TRUE(workers_[0].answers_now().empty());
  workers_[0].Kill();
  EXPECT_TRUE(workers_[1].WaitForAnswersNow(1));
  EXPECT_EQ(workers_[1].answers_now()[0].request.request_id(), latest().request_id());
}

TEST_F(AnsweringTest, AWorkerHearsOfItThatGoesOn) {
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(3));
  EXPECT_EQ(*AnswerNow(latest().request_id()), 1);
  workers_[0].Kill();
  EXPECT_TRUE(workers_[1].WaitForAnswersNow(1));
}

TEST_F(AnsweringTest, AWorkerIsToldAgainThatHadNotFoundTheRequestYet) {
  FakeWorker::Script script = Thinking();
  script.answer_now_end = rpc::Error(Code::kNotFound, "REQUEST_NOT_FOUND", "not yet");
  workers_[0].SetScript(script);
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(3));
  EXPECT_EQ(*AnswerNow(latest().request_id()), 1);
  EXPECT_EQ(workers_[0].answers_now().size(), 1u);
  workers_[0].Say(SmallStream()[2]);
  EXPECT_TRUE(workers_[0].WaitForAnswersNow(2));
}

TEST_F(AnsweringTest, SaysWhereItsWorkerCouldNotBeAsked) {
  FakeWorker::Script script = Thinking();
  script.answer_now_end = absl::UnavailableError("reset");
  workers_[0].SetScript(script);
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(3));
  const absl::Status status = AnswerNow(latest().request_id()).status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_TRUE(rpc::RetryAfter(status).has_value());
}

TEST_F(AnsweringTest, AsksAllWorkersForARequestOfAnotherRouter) {
  const auto stub = v1::WorkerService::NewStub(rpc::MakeChannel(workers_[1].address()));
  v1::WorkerGenerateRequest request;
  request.set_request_id("of-another");
  request.set_attempt(1);
  grpc::ClientContext context;
  context.AddMetadata(rpc::kPeerMetadata, "tenant/a");
  const auto stream = stub->Generate(&context, request);
  ASSERT_TRUE(workers_[1].WaitForCalls(1));
  EXPECT_EQ(*AnswerNow("of-another", "a"), 1);
  EXPECT_EQ(workers_[0].answers_now().size(), 1u);
  EXPECT_EQ(rpc::ErrorReason(AnswerNow("of-another", "b").status()), "REQUEST_NOT_FOUND");
  EXPECT_EQ(AnswerNow("unknown", "a").status().code(), Code::kNotFound);
  context.TryCancel();
}

TEST_F(AnsweringTest, NobodyIsToldOfAnothersRequest) {
  const auto sink = Ask(1000, {.tenant = "a", .peer = "tenant/a"});
  ASSERT_TRUE(sink->WaitForEvents(3));
  const absl::Status others = AnswerNow(latest().request_id(), "b").status();
  EXPECT_EQ(others.code(), Code::kNotFound);
  EXPECT_EQ(others, AnswerNow("unknown", "b").status());
  EXPECT_EQ(*AnswerNow(latest().request_id(), "a"), 1);
  EXPECT_EQ(workers_[0].answers_now().back().tenant, "a");
}

TEST_F(AnsweringTest, BesideOtherRoutersNobodyKnowsThatThereIsNone) {
  num_routers_ = 2;
  const absl::Status status = AnswerNow("of-another-queue").status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(rpc::ErrorReason(status), "REQUEST_NOT_SEEN");
  EXPECT_TRUE(rpc::RetryAfter(status).has_value());
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(3));
  EXPECT_EQ(*AnswerNow(latest().request_id()), 1) << "its own it knows";
}

TEST_F(AnsweringTest, IsNotFoundOnlyWhereAllHaveSaidSo) {
  EXPECT_EQ(AnswerNow("unknown").status().code(), Code::kNotFound);
  workers_[1].SetScript({.answer_now_end = absl::InternalError("what?")});
  EXPECT_EQ(AnswerNow("unknown").status().code(), Code::kUnavailable);
  EXPECT_EQ(AnswerNow("unknown", "a", 1).status().code(), Code::kResourceExhausted);
  for (FakeWorker& worker : workers_) worker.Kill();
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  EXPECT_EQ(rpc::ErrorReason(AnswerNow("unknown").status()), "NO_LIVE_WORKER");
}

}  // namespace
}  // namespace thinkwire::router
