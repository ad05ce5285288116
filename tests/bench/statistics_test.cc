#include "tests/bench/statistics.h"

#include <gtest/gtest.h>

namespace thinkwire::bench {
namespace {

TEST(MedianTest, IsTheMiddleOne) {
  EXPECT_EQ(Median({7}), 7);
  EXPECT_EQ(Median({9, 1, 4}), 4);
  EXPECT_EQ(Median({5, 3, 3, 8, 1}), 3);
}

TEST(MedianTest, IsBetweenTheTwoInTheMiddle) {
  EXPECT_EQ(Median({1, 2}), 1.5);
  EXPECT_EQ(Median({100, 4, 1, 2}), 3);
  EXPECT_EQ(Median({6, 6, 2, 9}), 6);
}

TEST(QuantileTest, IsOneOfTheValuesByRank) {
  EXPECT_EQ(Quantile({3, 1, 2}, 0), 1);
  EXPECT_EQ(Quantile({3, 1, 2}, 1), 3);
  EXPECT_EQ(Quantile({30, 10, 20, 50, 40}, 0.75), 40);
}

}  // namespace
}  // namespace thinkwire::bench
