#include "router/fleet/silence.h"

#include <gtest/gtest.h>

#include <chrono>

namespace thinkwire::router::fleet {
namespace {

using std::chrono::seconds;

constexpr Patience kPatience = {.silence = seconds(30), .progress = seconds(3600)};
constexpr Clock::TimePoint kBegin;

TEST(SilenceTest, NothingAtAllIsTooLongSoon) {
  const Silence silence(kPatience, kBegin);
  EXPECT_EQ(silence.WhatIsTooLong(kBegin + seconds(30)), "");
  EXPECT_EQ(silence.WhatIsTooLong(kBegin + seconds(31)), "said nothing for 31 s");
}

TEST(SilenceTest, SignsOfLifeAloneAreTooLongLater) {
  Silence silence(kPatience, kBegin);
  for (int s = 5; s <= 3600; s += 5) {
    silence.Hear(false, kBegin + seconds(s));
    EXPECT_EQ(silence.WhatIsTooLong(kBegin + seconds(s)), "");
  }
  EXPECT_EQ(silence.WhatIsTooLong(kBegin + seconds(3605)),
            "gave nothing but signs of life for 3605 s");
  silence.Hear(true, kBegin + seconds(3605));
  EXPECT_EQ(silence.WhatIsTooLong(kBegin + seconds(3606)), "");
}

TEST(SilenceTest, PausesDoNotCount) {
  Silence silence(kPatience, kBegin);
  silence.Pause(kBegin + seconds(10));
  EXPECT_EQ(silence.WhatIsTooLong(kBegin + seconds(10'000)), "");
  silence.Resume(kBegin + seconds(10'000));
  EXPECT_EQ(silence.WhatIsTooLong(kBegin + seconds(10'030)), "");
  for (int s = 10'030; s < 13'590; s += 30) silence.Hear(false, kBegin + seconds(s));
  EXPECT_EQ(silence.WhatIsTooLong(kBegin + seconds(13'590)), "");
  silence.Hear(false, kBegin + seconds(13'591));
  EXPECT_NE(silence.WhatIsTooLong(kBegin + seconds(13'592)), "");
}

constexpr Patience kShort = {.silence = seconds(3600), .standstill = seconds(15)};

TEST(SilenceTest, WhoRanAndStopsStandsStill) {
  Silence silence(kShort, kBegin);
  Clock::TimePoint now = kBegin;
  for (int i = 0; i < kStandstillEvents; ++i)
    silence.Hear(true, now += std::chrono::milliseconds(10));
  EXPECT_FALSE(silence.StandsStill(now + seconds(15)));
  silence.Hear(false, now + seconds(10));
  EXPECT_TRUE(silence.StandsStill(now + seconds(16)));
  silence.Pause(now + seconds(16));
  EXPECT_FALSE(silence.StandsStill(now + seconds(100)));
  silence.Resume(now + seconds(100));
  EXPECT_TRUE(silence.StandsStill(now + seconds(100)));
  silence.Hear(true, now + seconds(101));
  EXPECT_FALSE(silence.StandsStill(now + seconds(116)));
}

TEST(SilenceTest, WhoHasHardlyBegunOrIsSlowDoesNot) {
  Silence begun(kShort, kBegin);
  for (int i = 1; i < kStandstillEvents; ++i) begun.Hear(true, kBegin);
  EXPECT_FALSE(begun.StandsStill(kBegin + seconds(1000)));
  Silence slow(kShort, kBegin);
  Clock::TimePoint now = kBegin;
  for (int i = 0; i < kStandstillEvents; ++i) slow.Hear(true, now += seconds(10));
  EXPECT_FALSE(slow.StandsStill(now + seconds(10 * kStandstillEvents)));
  EXPECT_TRUE(slow.StandsStill(now + seconds(10 * kStandstillEvents + 1)));
}

}  // namespace
}  // namespace thinkwire::router::fleet
