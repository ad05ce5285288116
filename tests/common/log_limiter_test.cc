#include "common/log_limiter.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>

#include "absl/strings/str_cat.h"
#include "tests/fakes/fake_clock.h"

namespace thinkwire {
namespace {

constexpr LogRate kRate = {.a_second = 2, .burst = 3};

TEST(LogLimiterTest, LetsABurstPassAndThenSoManyASecond) {
  FakeClock clock;
  LogLimiter limiter;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(limiter.Take("a", kRate, clock.Now()), 0U);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(limiter.Take("a", kRate, clock.Now()), std::nullopt);
  clock.Advance(std::chrono::milliseconds(500));
  EXPECT_EQ(limiter.Take("a", kRate, clock.Now()), 5U) << "it tells what was suppressed";
  EXPECT_EQ(limiter.Take("a", kRate, clock.Now()), std::nullopt);
  clock.Advance(std::chrono::hours(1));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.Take("a", kRate, clock.Now()));
  EXPECT_EQ(limiter.Take("a", kRate, clock.Now()), std::nullopt) << "no more is saved than a burst";
}

TEST(LogLimiterTest, OneKindTakesNothingFromAnother) {
  FakeClock clock;
  LogLimiter limiter;
  for (int i = 0; i < 10; ++i) limiter.Take("a", kRate, clock.Now());
  EXPECT_EQ(limiter.Take("b", kRate, clock.Now()), 0U);
}

TEST(LogLimiterTest, NamesWithoutEndShareABucket) {
  FakeClock clock;
  LogLimiter limiter;
  int passed = 0;
  for (std::size_t i = 0; i < 10 * LogLimiter::kMaxNames; ++i) {
    if (limiter.Take(absl::StrCat("name ", i), kRate, clock.Now())) ++passed;
  }
  EXPECT_EQ(passed, static_cast<int>(LogLimiter::kMaxNames + kRate.burst));
}

}  // namespace
}  // namespace thinkwire
