#include "tests/bench/serve_pacer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>

namespace thinkwire::bench {
namespace {

TEST(PacerTest, AClosedLoopKeepsItsNumberInFlight) {
  ServeOptions options;
  options.concurrency = 3;
  const auto pacer = MakePacer(options);
  EXPECT_EQ(pacer->NextDue(1.5, 0), 1.5);
  EXPECT_EQ(pacer->NextDue(1.5, 2), 1.5);
  EXPECT_EQ(pacer->NextDue(1.5, 3), std::nullopt);
}

TEST(PacerTest, AWaveWaitsForTheEndOfTheLast) {
  ServeOptions options;
  options.concurrency = 2;
  options.in_waves = true;
  const auto pacer = MakePacer(options);
  for (int wave = 0; wave < 3; ++wave) {
    EXPECT_EQ(pacer->NextDue(0, 0), 0);
    pacer->Advance();
    EXPECT_EQ(pacer->NextDue(0, 1), 0);
    pacer->Advance();
    EXPECT_EQ(pacer->NextDue(0, 2), std::nullopt);
    EXPECT_EQ(pacer->NextDue(0, 1), std::nullopt);
  }
  // A request that has ended before the next is sent does not make the wave larger.
  EXPECT_EQ(pacer->NextDue(0, 0), 0);
  pacer->Advance();
  EXPECT_EQ(pacer->NextDue(0, 0), 0);
  pacer->Advance();
  EXPECT_EQ(pacer->NextDue(0, 1), std::nullopt);
}

TEST(PacerTest, OpenArrivalsAreAPoissonProcessThatKnowsNothingOfEnds) {
  ServeOptions options;
  options.rate = 50;
  options.seed = 9;
  const auto pacer = MakePacer(options);
  const auto again = MakePacer(options);
  constexpr int kArrivals = 20000;
  double last = 0;
  double squares = 0;
  double products = 0;
  double gap_before = 0;
  for (int i = 0; i < kArrivals; ++i) {
    const double due = *pacer->NextDue(0, i % 100);
    EXPECT_EQ(again->NextDue(1e6, 0), due);
    const double gap = due - last;
    EXPECT_GT(gap, 0);
    squares += gap * gap;
    products += (gap - 0.02) * (gap_before - 0.02);
    gap_before = gap;
    last = due;
    pacer->Advance();
    again->Advance();
  }
  // Exponential gaps: the deviation equals the mean, and neighbours do not hang together.
  const double mean = last / kArrivals;
  EXPECT_NEAR(mean, 0.02, 0.0006);
  const double deviation = std::sqrt(squares / kArrivals - mean * mean);
  EXPECT_NEAR(deviation, 0.02, 0.001);
  EXPECT_NEAR(products / kArrivals / (deviation * deviation), 0, 0.03);
}

}  // namespace
}  // namespace thinkwire::bench
