// A request whose first workers refuse it or are lost.

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/rpc/status_details.h"
#include "router/generation.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/event_sink.h"
#include "tests/router/fleet/pool_fixture.h"
#include "tests/router/in_order_policy.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;

absl::Status Refusal(const char* reason, Code code = Code::kUnavailable) {
  return rpc::WithRetryAfter(rpc::Error(code, reason, "not now"));
}

// One variant of four workers, which are asked in their order.
class RetryTest : public testing::Test {
 protected:
  RetryTest() {
    for (FakeWorker& worker : workers_) worker.SetScript({.events = SmallStream()});
    EXPECT_TRUE(pool_.TickUntilLive());
  }
  ~RetryTest() override { EXPECT_TRUE(registry_.WaitUntilEmpty(std::chrono::seconds(60))); }

  void Refuse(std::size_t worker, const absl::Status& status) {
    workers_[worker].SetScript({.end = status});
  }

  std::shared_ptr<Generation> Make(std::shared_ptr<EventSink> sink,
                                   fleet::CallContext context = {}) {
    return Generation::Make({.variants = variants_,
                             .policy = policy_,
                             .pool = *pool_,
                             .metrics = metrics_,
                             .registry = registry_,
                             .clock = Clock::Real(),
                             .retries = retries_,
                             .moves = moves_,
                             .resume_wait = {}},
                            std::move(context), std::move(sink));
  }

  static v1::GenerateRequest Question() {
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text("1+1?");
    return request;
  }

  std::shared_ptr<TestSink> Ask() {
    auto sink = std::make_shared<TestSink>();
    Make(sink)->Start(Question());
    end_ = sink->WaitForEnd();
    return sink;
  }

  double Retries(const std::string& reason) {
    double sum = 0;
    for (const auto& family : metrics_registry_.Collect()) {
      if (family.name != "thinkwire_router_retries_total") continue;
      for (const auto& metric : family.metric) {
        for (const auto& label : metric.label) {
          if (label.value == reason) sum += metric.counter.value;
        }
      }
    }
    return sum;
  }

  FakeWorker workers_[4] = {FakeWorker("qwen-7b"), FakeWorker("qwen-7b"), FakeWorker("qwen-7b"),
                            FakeWorker("qwen-7b")};
  const std::vector<VariantConfig> variants_ = {
      {.name = "qwen-7b",
       .workers = {workers_[0].address(), workers_[1].address(), workers_[2].address(),
                   workers_[3].address()}}};
  prometheus::Registry metrics_registry_;
  RouterMetrics metrics_{metrics_registry_, {"qwen-7b"}};
  const InOrderPolicy policy_;
  fleet::PoolUnderTest pool_{variants_, Clock::Real()};
  RetryBudget retries_;
  MoveSchedule moves_{Clock::Real()};
  GenerationRegistry registry_;
  absl::Status end_;
};

TEST_F(RetryTest, AnotherWorkerAnswersAndTheClientIsToldWhyItDid) {
  // The loss last, as others go first after it.
  for (const absl::Status& status :
       {Refusal("DRAINING"), Refusal("QUEUE_FULL", Code::kResourceExhausted),
        Refusal("SOMETHING_NEW", Code::kResourceExhausted),
        Refusal("FINGERPRINT_MISMATCH", Code::kFailedPrecondition),
        absl::UnavailableError("broken pipe")}) {
    Refuse(0, status);
    const auto sink = Ask();
    EXPECT_TRUE(end_.ok()) << status << " " << end_;
    ASSERT_EQ(sink->events().size(), SmallStream().size()) << status;
    const v1::Started started = sink->events()[1].started();
    EXPECT_EQ(started.worker(), workers_[1].address());
    EXPECT_NE(started.worker_reason().find("second worker tried: the first "), std::string::npos)
        << started.worker_reason();
    EXPECT_EQ(workers_[1].last_call().request.attempt(), 2);
  }
  EXPECT_EQ(Retries("DRAINING"), 1);
  EXPECT_EQ(Retries("QUEUE_FULL"), 1);
  EXPECT_EQ(Retries("WORKER_LIMIT"), 1);
  EXPECT_EQ(Retries("WORKER_LOST"), 1);
}

TEST_F(RetryTest, TheSameQuestionGoesToTheNextWorker) {
  Refuse(0, Refusal("DRAINING"));
  Ask();
  v1::WorkerGenerateRequest first = workers_[0].last_call().request;
  const v1::WorkerGenerateRequest second = workers_[1].last_call().request;
  EXPECT_EQ(first.attempt(), 1);
  first.set_attempt(2);
  EXPECT_EQ(first.SerializeAsString(), second.SerializeAsString());
}

TEST_F(RetryTest, ThreeWorkersAreAskedEachOnce) {
  for (std::size_t i = 0; i < 4; ++i) Refuse(i, Refusal("DRAINING"));
  const auto sink = Ask();
  EXPECT_EQ(rpc::ErrorReason(end_), "DRAINING");
  EXPECT_TRUE(rpc::RetryAfter(end_).has_value());
  EXPECT_TRUE(sink->events().empty());
  EXPECT_FALSE(sink->usage().has_value());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(workers_[i].last_call().request.attempt(), i + 1);
  EXPECT_EQ(workers_[3].num_calls(), 0);
}

TEST_F(RetryTest, TheBestErrorIsTold) {
  Refuse(0, Refusal("QUEUE_FULL", Code::kResourceExhausted));
  Refuse(1, absl::UnavailableError("reset"));
  Refuse(2, absl::UnavailableError("reset"));
  Ask();
  EXPECT_EQ(rpc::ErrorReason(end_), "QUEUE_FULL");
}

TEST_F(RetryTest, WhatTheRequestIsToBlameForIsToldAtOnce) {
  Refuse(0, rpc::Error(Code::kInvalidArgument, "INVALID_FIELD", "max_tokens is too large"));
  Ask();
  EXPECT_EQ(end_.code(), Code::kInvalidArgument);
  EXPECT_EQ(workers_[1].num_calls(), 0);
}

TEST_F(RetryTest, WhoWaitedAtOneWorkerWaitsAtTheNextWithThePromptsIds) {
  auto queued = SmallStream();
  queued.resize(1);
  workers_[0].SetScript({.events = queued, .end = absl::UnavailableError("reset")});
  const auto sink = Ask();
  EXPECT_TRUE(end_.ok()) << end_;
  const auto events = sink->events();
  ASSERT_EQ(events.size(), SmallStream().size() + 1);
  EXPECT_TRUE(events[1].has_queued());
  EXPECT_EQ(events[2].started().worker(), workers_[1].address());
  EXPECT_EQ(events.back().completed().resumes(), 0);
  const v1::WorkerGenerateRequest request = workers_[1].last_call().request;
  EXPECT_FALSE(request.request().has_prompt());
  EXPECT_EQ(request.resume().prompt_ids_size(), 3);
  EXPECT_EQ(request.resume().outputs_size(), 0);
}

TEST_F(RetryTest, WithoutABudgetTheFirstErrorIsTold) {
  Refuse(0, Refusal("DRAINING"));
  while (retries_.Withdraw()) {
  }
  Ask();
  EXPECT_EQ(rpc::ErrorReason(end_), "DRAINING");
  EXPECT_EQ(workers_[1].num_calls(), 0);
  for (int i = 0; i < 5; ++i) retries_.Deposit();
  Ask();
  EXPECT_TRUE(end_.ok()) << end_;
}

TEST_F(RetryTest, NothingIsTriedAgainForAClientThatIsGone) {
  workers_[0].SetScript({.stays_open = true});
  const auto sink = std::make_shared<TestSink>();
  const auto generation = Make(sink);
  generation->Start(Question());
  ASSERT_TRUE(workers_[0].WaitForCalls(1));
  generation->Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
  EXPECT_EQ(workers_[1].num_calls(), 0);
}

TEST_F(RetryTest, NothingIsTriedAgainAfterTheDeadline) {
  Refuse(0, Refusal("DRAINING"));
  const auto sink = std::make_shared<TestSink>();
  // The worker answers at once, yet never sooner than now.
  Make(sink, {.deadline = Clock::Real().Now()})->Start(Question());
  EXPECT_FALSE(sink->WaitForEnd().ok());
  EXPECT_EQ(workers_[1].num_calls(), 0);
}

TEST_F(RetryTest, AStartedStreamThatNobodyGoesOnWithTellsWhatItSpent) {
  auto some = SmallStream();
  some.resize(5);
  workers_[0].SetScript({.events = some, .end = absl::UnavailableError("reset")});
  for (int i = 1; i < 4; ++i) workers_[i].SetStatus([](auto& s) { s.set_draining(true); });
  ASSERT_TRUE(pool_.WaitForLive(0, 1));
  const auto sink = Ask();
  EXPECT_EQ(rpc::ErrorReason(end_), "WORKER_LOST");
  ASSERT_TRUE(sink->usage().has_value());
  EXPECT_EQ(sink->usage()->prompt_tokens(), 3);
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 3);
  EXPECT_EQ(sink->usage()->answer_tokens(), 1);
}

}  // namespace
}  // namespace thinkwire::router
