#include "router/fleet/worker_trust.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "tests/fakes/fake_clock.h"

namespace thinkwire::router::fleet {
namespace {

using std::chrono::milliseconds;

constexpr auto kOrdinary = WorkerTrust::Failure::kOrdinary;

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
    clock.Advance(milliseconds(1));
    const Clock::TimePoint given = clock.Now();
    EXPECT_TRUE(trust.Fail(kOrdinary, given, given));
    EXPECT_FALSE(trust.Fail(kOrdinary, given, given)) << "many that fail together are one failure";
    clock.Advance(std::chrono::seconds(seconds) - milliseconds(1));
    EXPECT_EQ(trust.Distrust(clock.Now()), 2) << seconds;
    clock.Advance(milliseconds(1));
    EXPECT_EQ(trust.Distrust(clock.Now()), 0) << seconds;
  }
  trust.Succeed();
  trust.Fail(kOrdinary, clock.Now(), clock.Now());
  clock.Advance(std::chrono::seconds(1));
  EXPECT_EQ(trust.Distrust(clock.Now()), 0);
}

TEST(WorkerTrustTest, SoManyFailuresInARowDeserveEjection) {
  FakeClock clock;
  WorkerTrust trust;
  const auto fail = [&](WorkerTrust::Failure failure) {
    clock.Advance(milliseconds(1));
    EXPECT_TRUE(trust.Fail(failure, clock.Now(), clock.Now()));
  };
  for (int i = 1; i < kFailuresToEject; ++i) fail(kOrdinary);
  EXPECT_FALSE(trust.deserves_ejection());
  trust.Succeed();
  for (int i = 1; i < kFailuresToEject; ++i) fail(kOrdinary);
  EXPECT_FALSE(trust.deserves_ejection());
  fail(kOrdinary);
  EXPECT_TRUE(trust.deserves_ejection());
  trust.Succeed();
  fail(WorkerTrust::Failure::kHung);
  EXPECT_TRUE(trust.deserves_ejection()) << "a single stream that hung";
}

TEST(WorkerTrustTest, EachEjectionInARowIsLonger) {
  FakeClock clock;
  WorkerTrust trust;
  for (int n = 1; n <= kMaxEjections + 2; ++n) {
    trust.Eject(clock.Now());
    EXPECT_TRUE(trust.is_out());
    clock.Advance(kEjection * std::min(n, kMaxEjections) - milliseconds(1));
    EXPECT_FALSE(trust.IsProbeDue(clock.Now())) << n;
    clock.Advance(milliseconds(1));
    EXPECT_TRUE(trust.IsProbeDue(clock.Now())) << n;
    trust.EndProbe(true, clock.Now());
    EXPECT_FALSE(trust.is_out());
  }
  trust.Succeed();
  EXPECT_EQ(trust.Eject(clock.Now()), kEjection) << "a success ends the row";
}

TEST(WorkerTrustTest, WhoIsBackIsOnProbation) {
  FakeClock clock;
  WorkerTrust trust;
  trust.Eject(clock.Now());
  trust.Succeed();  // of what was given to it before
  clock.Advance(kEjection);
  trust.EndProbe(true, clock.Now());
  EXPECT_FALSE(trust.deserves_ejection());
  clock.Advance(milliseconds(1));
  trust.Fail(kOrdinary, clock.Now(), clock.Now());
  EXPECT_TRUE(trust.deserves_ejection());
  EXPECT_EQ(trust.Eject(clock.Now()), 2 * kEjection);
}

TEST(WorkerTrustTest, AProbeInVainCostsTimeAndWhoHungIsNotReadmitted) {
  FakeClock clock;
  WorkerTrust trust;
  trust.Suspect(clock.Now());
  EXPECT_TRUE(trust.IsProbeDue(clock.Now())) << "nothing is known against it but that it hung";
  trust.EndProbe(false, clock.Now());
  EXPECT_TRUE(trust.is_out());
  EXPECT_FALSE(trust.is_ejected());
  EXPECT_FALSE(trust.IsProbeDue(clock.Now()));
  clock.Advance(kEjection);
  EXPECT_TRUE(trust.IsProbeDue(clock.Now()));
}

}  // namespace
}  // namespace thinkwire::router::fleet
