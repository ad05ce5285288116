#include "tests/bench/serve_lengths.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/bench/statistics.h"

namespace thinkwire::bench {
namespace {

std::vector<double> Drawn(const std::string& text, int count) {
  const auto lengths = LengthDistribution::Parse(text, 1, 5000);
  EXPECT_TRUE(lengths.ok()) << lengths.status();
  std::mt19937_64 random(5);
  std::vector<double> drawn;
  for (int i = 0; lengths.ok() && i < count; ++i) drawn.push_back(lengths->Draw(random));
  return drawn;
}

TEST(LengthDistributionTest, AFixedLengthIsAlwaysTheSame) {
  EXPECT_EQ(Drawn("512", 50), std::vector<double>(50, 512));
}

TEST(LengthDistributionTest, UniformLengthsReachBothEndsEquallyOften) {
  std::vector<int> seen(11);
  for (const double length : Drawn("uniform:5,10", 60000))
    ++seen.at(static_cast<std::size_t>(length));
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(seen[i], 0);
  // 10,000 each, with a standard deviation of 91.
  for (std::size_t i = 5; i <= 10; ++i) EXPECT_NEAR(seen[i], 10000, 500);
}

TEST(LengthDistributionTest, LogNormalLengthsHaveTheirMedianAndSpreadAndAreCut) {
  const std::vector<double> drawn = Drawn("lognormal:200,0.5,2000", 40000);
  EXPECT_NEAR(Median(drawn), 200, 4);
  // One standard deviation of the logarithm above the median.
  EXPECT_NEAR(Quantile(drawn, 0.8413), 200 * std::exp(0.5), 8);
  for (const double length : Drawn("lognormal:200,3,300", 2000)) {
    EXPECT_GE(length, 1);
    EXPECT_LE(length, 300);
  }
}

TEST(LengthDistributionTest, WhatIsNoDistributionIsRefused) {
  for (const char* text :
       {"", "x", "0", "5001", "1.5", "-3", "nan", "1,2", "uniform:", "uniform:3", "uniform:5,2",
        "uniform:0,5", "uniform:1,2,3", "lognormal:200,0.5", "lognormal:0,0.5,300",
        "lognormal:200,0,300", "lognormal:200,inf,300", "lognormal:200,0.5,6000", "normal:1,2"}) {
    EXPECT_FALSE(LengthDistribution::Parse(text, 1, 5000).ok()) << text;
  }
  EXPECT_EQ(LengthDistribution::Parse("0", 1, 9).status().message(),
            "'0' is not N, uniform:LOW,HIGH or lognormal:MEDIAN,SIGMA,HIGH with lengths from 1 to "
            "9");
}

}  // namespace
}  // namespace thinkwire::bench
