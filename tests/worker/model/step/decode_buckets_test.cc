#include "worker/model/step/decode_buckets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thinkwire::worker::model {
namespace {

using testing::ElementsAre;

TEST(DecodeBucketsTest, EndAtTheMostRows) {
  EXPECT_THAT(DecodeBuckets(1), ElementsAre(1));
  EXPECT_THAT(DecodeBuckets(3), ElementsAre(1, 2, 3));
  EXPECT_THAT(DecodeBuckets(16), ElementsAre(1, 2, 4, 8, 16));
  EXPECT_THAT(DecodeBuckets(30), ElementsAre(1, 2, 4, 8, 16, 24, 30));
  EXPECT_EQ(DecodeBuckets(128).size(), 19U);
  EXPECT_EQ(DecodeBuckets(4096).size(), 35U + 60U);
  EXPECT_EQ(DecodeBuckets(4096).back(), 4096);
}

TEST(DecodeBucketsTest, DecodeOnlyIsOneTokenThatDrawsARow) {
  step::Plan plan;
  plan.rows = {{.slot = 0, .draws = 1}, {.slot = 1, .draws = 1}};
  EXPECT_TRUE(IsDecodeOnly(plan));
  plan.rows[1].draws = 0;
  EXPECT_FALSE(IsDecodeOnly(plan));
  plan.rows[1] = {.slot = 1, .count = 2, .draws = 1};
  EXPECT_FALSE(IsDecodeOnly(plan));
}

}  // namespace
}  // namespace thinkwire::worker::model
