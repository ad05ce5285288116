#include "router/decision/length_sketch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace thinkwire::router::decision {
namespace {

// A bucket is 2^(1/8) = 1.09 wide.
constexpr double kTolerance = 1.10;

void ExpectNear(double got, double wanted) {
  EXPECT_LT(got, wanted * kTolerance);
  EXPECT_GT(got, wanted / kTolerance);
}

TEST(LengthSketch, BeginsWithWhatItIsTold) {
  for (const LengthQuantiles prior :
       {LengthQuantiles{100, 250}, LengthQuantiles{6000, 15000}, LengthQuantiles{750, 750}}) {
    const LengthQuantiles got = LengthSketch(prior).Quantiles();
    ExpectNear(got.p50, prior.p50);
    ExpectNear(got.p90, prior.p90);
  }
}

TEST(LengthSketch, LearnsTheDistributionItSees) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> lengths(std::log(3000), 0.7);
  LengthSketch sketch({100, 250});
  std::vector<double> seen;
  for (int i = 0; i < 5000; ++i) {
    seen.push_back(lengths(random));
    sketch.Add(seen.back());
  }
  std::ranges::sort(seen);
  EXPECT_NEAR(std::log(sketch.Quantile(0.5)), std::log(seen[2500]), 0.15);
  EXPECT_NEAR(std::log(sketch.Quantile(0.9)), std::log(seen[4500]), 0.15);
}

TEST(LengthSketch, OneOutlierMovesLittleAndFortyLengthsOutweighThePrior) {
  LengthSketch sketch({1000, 2000});
  sketch.Add(100'000);
  EXPECT_LT(sketch.Quantile(0.5), 1200);
  for (int i = 0; i < 40; ++i) sketch.Add(100);
  EXPECT_LT(sketch.Quantile(0.5), 130);
}

TEST(LengthSketch, ForgetsWhatHasCeasedToBe) {
  LengthSketch sketch({1000, 2000});
  for (int i = 0; i < 10'000; ++i) sketch.Add(8000);
  for (int i = 0; i < 1500; ++i) sketch.Add(200);
  ExpectNear(sketch.Quantile(0.9), 200);
}

TEST(LengthSketch, TakesAnyLength) {
  LengthSketch sketch({1000, 2000});
  for (const double odd : {0.0, -5.0, 1e12, 1.0, double{1 << 20}}) sketch.Add(odd);
  EXPECT_GE(sketch.Quantile(0.01), 1);
  EXPECT_LE(sketch.Quantile(0.999), (1 << 20) * 1.2);
}

}  // namespace
}  // namespace thinkwire::router::decision
