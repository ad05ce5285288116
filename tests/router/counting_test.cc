// A count of tokens whose first workers refuse it or are lost.
#include "router/counting.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fleet/pool_fixture.h"
#include "tests/router/in_order_policy.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;
using Count = absl::StatusOr<v1::CountTokensResponse>;

absl::Status Refusal(const char* reason, Code code = Code::kUnavailable) {
  return rpc::WithRetryAfter(rpc::Error(code, reason, "not now"));
}

class TestCountSink final : public CountSink {
 public:
  explicit TestCountSink(std::function<bool()> is_wanted) : is_wanted_(std::move(is_wanted)) {}
  bool IsWanted() const override { return is_wanted_(); }
  void Finish(const Count& count) override { count_.set_value(count); }
  Count Wait() {
    std::future<Count> count = count_.get_future();
    if (count.wait_for(std::chrono::seconds(60)) == std::future_status::ready) return count.get();
    return absl::DeadlineExceededError("no end came");
  }

 private:
  const std::function<bool()> is_wanted_;
  std::promise<Count> count_;
};

// One variant of four workers, which are asked in their order.
class CountingTest : public testing::Test {
 protected:
  CountingTest() { EXPECT_TRUE(pool_.TickUntilLive()); }

  void Refuse(std::size_t worker, const absl::Status& status) {
    workers_[worker].SetScript({.count_end = status});
  }

  Count Ask(
      fleet::CallContext context = {},
      const std::function<bool()>& is_wanted = [] { return true; }) {
    return Begin("abc", std::move(context), is_wanted)->Wait();
  }

  std::shared_ptr<TestCountSink> Begin(
      const std::string& text, fleet::CallContext context = {},
      const std::function<bool()>& is_wanted = [] { return true; }) {
    v1::CountTokensRequest request;
    request.mutable_prompt()->set_text(text);
    const auto sink = std::make_shared<TestCountSink>(is_wanted);
    Counting::Start({.variants = variants_,
                     .policy = policy_,
                     .pool = *pool_,
                     .metrics = metrics_,
                     .retries = retries_,
                     .turns = turns_,
                     .clock = Clock::Real()},
                    std::move(context), request, sink);
    return sink;
  }

  std::vector<int> Asked() const {
    std::vector<int> asked;
    for (const FakeWorker& worker : workers_) asked.push_back(worker.num_counts());
    return asked;
  }

  FakeWorker workers_[4] = {FakeWorker("qwen-7b"), FakeWorker("qwen-7b"), FakeWorker("qwen-7b"),
                            FakeWorker("qwen-7b")};
  const std::vector<VariantConfig> variants_ = {
      {.name = "qwen-7b",
       .workers = {workers_[0].address(), workers_[1].address(), workers_[2].address(),
                   workers_[3].address()}}};
  prometheus::Registry metrics_registry_;
  RouterMetrics metrics_{metrics_registry_, {"qwen-7b"}};
  RetryBudget retries_;
  CountTurns turns_;
  const InOrderPolicy policy_;
  FakeClock pool_clock_;
  fleet::PoolUnderTest pool_{variants_, pool_clock_};
};

TEST_F(CountingTest, AnotherWorkerCounts) {
  int asked = 0;
  for (const absl::Status& status :
       {Refusal("DRAINING"), Refusal("QUEUE_FULL", Code::kResourceExhausted),
        Refusal("SOMETHING_NEW", Code::kResourceExhausted),
        absl::UnavailableError("broken pipe")}) {
    Refuse(0, status);
    const Count count = Ask();
    ASSERT_TRUE(count.ok()) << status << " " << count.status();
    EXPECT_EQ(count->prompt_tokens(), 3);
    EXPECT_EQ(count->variant(), "qwen-7b");
    ++asked;
    EXPECT_EQ(Asked(), (std::vector<int>{asked, asked, 0, 0}));
  }
}

TEST_F(CountingTest, ThreeWorkersAreAskedEachOnce) {
  for (std::size_t i = 0; i < 4; ++i) Refuse(i, Refusal("DRAINING"));
  const absl::Status status = Ask().status();
  EXPECT_EQ(rpc::ErrorReason(status), "DRAINING");
  EXPECT_TRUE(rpc::RetryAfter(status).has_value());
  EXPECT_EQ(Asked(), (std::vector<int>{1, 1, 1, 0}));
}

TEST_F(CountingTest, TheBestErrorIsTold) {
  Refuse(0, Refusal("QUEUE_FULL", Code::kResourceExhausted));
  Refuse(1, absl::UnavailableError("reset"));
  Refuse(2, absl::UnavailableError("reset"));
  EXPECT_EQ(rpc::ErrorReason(Ask().status()), "QUEUE_FULL");
}

TEST_F(CountingTest, WhatTheRequestIsToBlameForIsToldAtOnce) {
  Refuse(0, rpc::Error(Code::kInvalidArgument, "INVALID_FIELD", "no such id"));
  EXPECT_EQ(Ask().status().code(), Code::kInvalidArgument);
  EXPECT_EQ(Asked(), (std::vector<int>{1, 0, 0, 0}));
}

TEST_F(CountingTest, NothingIsTriedAgainForAClientThatIsGone) {
  Refuse(0, Refusal("DRAINING"));
  EXPECT_EQ(rpc::ErrorReason(Ask({}, [] { return false; }).status()), "DRAINING");
  EXPECT_EQ(Asked(), (std::vector<int>{1, 0, 0, 0}));
}

TEST_F(CountingTest, NothingIsTriedAgainAfterTheDeadline) {
  Refuse(0, Refusal("DRAINING"));
  // The worker answers at once, yet never sooner than now.
  EXPECT_FALSE(Ask({.deadline = Clock::Real().Now()}).ok());
  EXPECT_EQ(workers_[1].num_counts(), 0);
}

TEST_F(CountingTest, ALongPromptWaitsForItsPeersTurn) {
  const std::string text(kLongPromptBytes + 1, 'a');
  std::vector<CountTurns::Turn> turns;
  for (int i = 0; i < CountTurns::kAtOnce; ++i) {
    turns_.Take("", [&](CountTurns::Turn turn) { turns.push_back(std::move(turn)); });
  }
  const auto waits = Begin(text);
  const auto gone = Begin(text, {}, [] { return false; });
  EXPECT_TRUE(Begin("abc")->Wait().ok()) << "short ones do not wait";
  EXPECT_TRUE(Begin(text, {.peer = "another"})->Wait().ok());
  EXPECT_EQ(workers_[0].num_counts(), 2);
  turns.clear();
  EXPECT_TRUE(waits->Wait().ok());
  EXPECT_EQ(gone->Wait().status().code(), Code::kCancelled);
  EXPECT_EQ(workers_[0].num_counts(), 3);
}

// A count has no signs of life, so that its time says nothing of its worker.
TEST_F(CountingTest, AWorkerIsNotDistrustedForACountThatItsDeadlineEnds) {
  Refuse(0, absl::DeadlineExceededError("the client's own"));
  const auto late = [this] {
    pool_clock_.Advance(2 * kFirstWord);
    return false;
  };
  EXPECT_FALSE(Ask({}, late).ok());
  Refuse(0, absl::OkStatus());
  EXPECT_TRUE(Ask().ok());
  EXPECT_EQ(Asked(), (std::vector<int>{2, 0, 0, 0}));
}

}  // namespace
}  // namespace thinkwire::router
