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

}  // namespace
}  // namespace thinkwire::router::fleet
