#include "router/fleet/worker_trust.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/fakes/fake_clock.h"

namespace thinkwire::router::fleet {
namespace {

using std::chrono::milliseconds;

TEST(WorkerTrustTest, PlacesThatItFillsAreBelievedAndSomeMore) {
  const Clock::TimePoint now;
  WorkerTrust trust;
  for (int i = 0; i < kMaxProbes; ++i) {
    EXPECT_EQ(trust.Distrust(now), 0);
    trust.Give();
  }
  EXPECT_EQ(trust.Distrust(now), 1);
  trust.Begin();  // one place more, and one that waits less
  trust.Give();
  EXPECT_EQ(trust.Distrust(now), 0);
  trust.Give();
  EXPECT_EQ(trust.Distrust(now), 1);
  trust.TakeBack(true);
  EXPECT_EQ(trust.Distrust(now), 1);
  trust.TakeBack(false);
  trust.TakeBack(false);
  EXPECT_EQ(trust.Distrust(now), 0);
}

TEST(WorkerTrustTest, WhoFailsAgainIsDistrustedForTwiceAsLong) {
  FakeClock clock;
  WorkerTrust trust;
  for (const int seconds : {1, 2, 4, 8, 16, 32, 60, 60}) {
    EXPECT_TRUE(trust.Fail(clock.Now()));
    EXPECT_FALSE(trust.Fail(clock.Now())) << "many that fail together are one failure";
    clock.Advance(std::chrono::seconds(seconds) - milliseconds(1));
    EXPECT_EQ(trust.Distrust(clock.Now()), 2) << seconds;
    clock.Advance(milliseconds(1));
    EXPECT_EQ(trust.Distrust(clock.Now()), 0) << seconds;
  }
  trust.Succeed();
  trust.Fail(clock.Now());
  clock.Advance(std::chrono::seconds(1));
  EXPECT_EQ(trust.Distrust(clock.Now()), 0);
}

}  // namespace
}  // namespace thinkwire::router::fleet
