#include "router/admission/token_bucket.h"

#include <gtest/gtest.h>

#include <chrono>

#include "tests/fakes/fake_clock.h"

namespace thinkwire::router::admission {
namespace {

using std::chrono::seconds;
constexpr Clock::Duration kNow = Clock::Duration::zero();

class TokenBucketTest : public testing::Test {
 protected:
  Clock::Duration Reserve(double tokens) { return bucket_.Reserve(tokens, 600, clock_.Now()); }

  FakeClock clock_;
  TokenBucket bucket_{clock_.Now()};
};

TEST_F(TokenBucketTest, GivesAMinutesTokensAtOnceAndThenTenASecond) {
  EXPECT_EQ(Reserve(600), kNow);
  EXPECT_EQ(Reserve(100), seconds(10));
  clock_.Advance(seconds(4));
  EXPECT_EQ(Reserve(100), seconds(6));
  clock_.Advance(seconds(6));
  EXPECT_EQ(Reserve(100), kNow);
}

TEST_F(TokenBucketTest, IsTrueWhenItSaysWhen) {
  EXPECT_EQ(Reserve(600), kNow);
  const Clock::Duration wait = Reserve(37);
  clock_.Advance(wait - std::chrono::milliseconds(1));
  EXPECT_GT(Reserve(37), kNow);
  clock_.Advance(std::chrono::milliseconds(1));
  EXPECT_EQ(Reserve(37), kNow);
}

TEST_F(TokenBucketTest, HoldsNoMoreThanAMinutes) {
  clock_.Advance(std::chrono::hours(1));
  EXPECT_EQ(Reserve(600), kNow);
  EXPECT_GT(Reserve(1), kNow);
}

TEST_F(TokenBucketTest, LetsAWholeBucketPayForMoreThanItHolds) {
  EXPECT_EQ(Reserve(6000), kNow);
  EXPECT_EQ(Reserve(60), seconds(540 + 6)) << "what was taken too early is owed";
}

TEST_F(TokenBucketTest, SettlesWhatWasReallyTaken) {
  EXPECT_EQ(Reserve(600), kNow);
  bucket_.Settle(600, 200);
  EXPECT_EQ(Reserve(400), kNow);
  bucket_.Settle(400, 1000);
  EXPECT_EQ(Reserve(60), seconds(66));
}

}  // namespace
}  // namespace thinkwire::router::admission
