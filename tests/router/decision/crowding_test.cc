#include "router/decision/crowding.h"

#include <gtest/gtest.h>

#include <random>

namespace thinkwire::router::decision {
namespace {

constexpr double kPlaces = 4;
constexpr double kAlone = 0.001;  // seconds a token

// Streams at loads of one to four, slower than alone by `growth`, with so much noise.
void Learn(Crowding& crowding, double growth, int streams, double noise = 0) {
  std::mt19937 random(1);
  std::normal_distribution<double> factor(1, noise > 0 ? noise : 1);
  for (int i = 0; i < streams; ++i) {
    const double busy = static_cast<double>(i * 7 % 4) / kPlaces;
    crowding.Learn(busy, kAlone * (1 + growth * busy) * (noise > 0 ? factor(random) : 1), kPlaces);
  }
}

TEST(Crowding, LearnsHowMuchStreamsHoldEachOtherUp) {
  for (const double growth : {1.5, 2.5, 4.0}) {
    Crowding crowding;
    Learn(crowding, growth, 40);
    EXPECT_NEAR(crowding.growth(), growth, 0.05 * growth);
    EXPECT_NEAR(crowding.alone_s(), kAlone, 0.02 * kAlone);
    EXPECT_DOUBLE_EQ(crowding.Slowdown(0), 1);
    EXPECT_NEAR(crowding.Slowdown(0.5), 1 + growth / 2, 0.1);
  }
}

TEST(Crowding, NoiseIsAveraged) {
  Crowding crowding;
  Learn(crowding, 3, 60, 0.1);
  EXPECT_NEAR(crowding.growth(), 3, 1);
}

TEST(Crowding, IsWithinWhatCanBe) {
  Crowding free;
  Learn(free, 0.1, 40);
  EXPECT_DOUBLE_EQ(free.growth(), 1) << "less is not believed";
  Crowding steep;
  Learn(steep, 40, 40);
  EXPECT_DOUBLE_EQ(steep.growth(), kPlaces) << "a row takes no more than a whole step";
}

TEST(Crowding, ThatTheMachineIsSlowerNowIsSeenSoon) {
  Crowding crowding;
  Learn(crowding, 4, 100);
  for (int i = 0; i < 10; ++i) crowding.Learn(0, 2 * kAlone, kPlaces);
  EXPECT_NEAR(crowding.alone_s(), 2 * kAlone, 0.2 * kAlone);
}

// A load that is always the same shows nothing of others.
TEST(Crowding, StaysWhereItWasWhileTheLoadIsTheSame) {
  Crowding crowding;
  for (int i = 0; i < 40; ++i) crowding.Learn(0.75, kAlone, kPlaces);
  EXPECT_NEAR(crowding.growth(), 1, 1e-9);
  Learn(crowding, 4, 300);
  const double learnt = crowding.growth();
  for (int i = 0; i < 200; ++i) crowding.Learn(0, kAlone, kPlaces);
  EXPECT_NEAR(crowding.growth(), learnt, 0.1);
}

}  // namespace
}  // namespace thinkwire::router::decision
