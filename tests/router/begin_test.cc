// Requests that have no worker to begin with, for now.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <vector>

#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fake_fleet.h"

namespace thinkwire::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class BeginTest : public FakeFleetTest {
 protected:
  BeginTest() : FakeFleetTest(1) {
    workers_[0].SetScript({.events = SmallStream()});
    EXPECT_TRUE(pool_.TickUntilLive());
    pool_->Tick();  // which sees it live
  }

  void Pass(Clock::Duration time) {
    clock_.Advance(time);
    moves_.Tick();
  }
  void Drain(bool draining) {
    SetDraining(0, draining);
    ASSERT_TRUE(pool_.WaitForLive(0, draining ? 0 : 1));
  }
};

TEST_F(BeginTest, OneThatIsBackInTimeBegins) {
  Drain(true);
  const auto sink = Ask();
  Pass(milliseconds(200));
  EXPECT_FALSE(sink->ended());
  Drain(false);
  Pass(milliseconds(100));
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  EXPECT_EQ(sink->events().size(), SmallStream().size());
  EXPECT_EQ(Metric("thinkwire_router_retries_total"), 0);
}

TEST_F(BeginTest, WhoWasGivenToOneThatIsLostWaitsForIt) {
  workers_[0].SetScript({.end = absl::UnavailableError("reset")});
  const auto sink = Ask();
  ASSERT_TRUE(pool_.WaitUntil([&] { return moves_.num_waiting() == 1; }));
  workers_[0].SetScript({.events = SmallStream()});
  Pass(kSecondChance - milliseconds(1));
  EXPECT_EQ(workers_[0].num_calls(), 1) << "too soon";
  Pass(kWorkerSearchInterval);
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  EXPECT_NE(sink->events().at(1).started().worker_reason().find("the first was lost"),
            std::string::npos);
  EXPECT_EQ(Metric("thinkwire_router_retries_total"), 1);
}

TEST_F(BeginTest, TheWaitIsNoLongerThanThatForAStream) {
  Drain(true);
  const auto sink = Ask();
  Pass(kResumeWait - milliseconds(1));
  EXPECT_FALSE(sink->ended());
  Pass(milliseconds(1));
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "NO_LIVE_WORKER");
  EXPECT_TRUE(rpc::RetryAfter(sink->WaitForEnd()).has_value());
}

TEST_F(BeginTest, NobodyWaitsForOneThatIsLongGone) {
  Drain(true);
  clock_.Advance(kMayComeBack + seconds(1));
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "NO_LIVE_WORKER");
}

TEST_F(BeginTest, NobodyWaitsForOneThatRefuses) {
  workers_[0].SetScript(
      {.end = rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", "full")});
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "QUEUE_FULL");
}

TEST_F(BeginTest, OnlySoManyWait) {
  Drain(true);
  std::vector<std::shared_ptr<TestSink>> sinks;
  for (std::size_t i = 0; i < kMaxWaitingToBegin; ++i) sinks.push_back(Ask());
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "NO_LIVE_WORKER");
  for (const auto& sink : sinks) EXPECT_FALSE(sink->ended());
  for (const auto& generation : generations_) generation->Cancel();
}

TEST_F(BeginTest, ACancelAndADeadlineEndTheWait) {
  Drain(true);
  const auto left = Ask();
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(left->WaitForEnd()));
  const auto late = Ask(1000, {.deadline = clock_.Now() + seconds(5)});
  Pass(seconds(5) - milliseconds(1));
  EXPECT_FALSE(late->ended());
  Pass(milliseconds(1));
  EXPECT_TRUE(absl::IsDeadlineExceeded(late->WaitForEnd())) << late->WaitForEnd();
}

}  // namespace
}  // namespace thinkwire::router
