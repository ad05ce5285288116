#include "common/log_limiter.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>

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

LogRate Of(std::string_view who) { return {.a_second = 20, .burst = 200, .who = who}; }

TEST(LogLimiterTest, WhoCausesMostLeavesOthersTheirRecords) {
  FakeClock clock;
  LogLimiter limiter;
  int of_flood = 0;
  for (int second = 0; second < 60; ++second) {
    for (int i = 0; i < 1000; ++i) of_flood += limiter.Take("a", Of("flood"), clock.Now()) ? 1 : 0;
    ASSERT_TRUE(limiter.Take("a", Of("honest"), clock.Now())) << second;
    clock.Advance(std::chrono::seconds(1));
  }
  EXPECT_GT(of_flood, 60 * 19) << "nobody else needs what he gets";
}

TEST(LogLimiterTest, ManyWhoFloodShareWhatThereIs) {
  FakeClock clock;
  LogLimiter limiter;
  std::map<std::string, int> passed;
  for (int round = 0; round < 6000; ++round) {
    for (const std::string who : {"a", "b", "c"}) {
      passed[who] += limiter.Take("x", Of(who), clock.Now()) ? 1 : 0;
    }
    clock.Advance(std::chrono::milliseconds(10));
  }
  EXPECT_NEAR(passed["a"], passed["c"], 0.2 * passed["a"]);
  EXPECT_TRUE(limiter.Take("x", Of("honest"), clock.Now()));
}

TEST(LogLimiterTest, PeopleWithoutEndAreCountedAsOne) {
  FakeClock clock;
  LogLimiter limiter;
  const auto rate = [](std::string_view who) {
    return LogRate{.a_second = 1, .burst = 4.0 * LogLimiter::kMaxWho, .who = who};
  };
  std::size_t passed = 0;
  for (std::size_t i = 0; i < 10 * LogLimiter::kMaxWho; ++i) {
    passed += limiter.Take("a", rate(absl::StrCat(i)), clock.Now()) ? 1 : 0;
  }
  EXPECT_LT(passed, 4 * LogLimiter::kMaxWho) << "as one they have a share";
  EXPECT_GT(passed, 3 * LogLimiter::kMaxWho);
  clock.Advance(10 * LogLimiter::kHalfLife);
  EXPECT_TRUE(limiter.Take("a", rate("newcomer"), clock.Now()));
}

}  // namespace
}  // namespace thinkwire
