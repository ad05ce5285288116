#include "common/check.h"

#include <gtest/gtest.h>

namespace thinkwire {
namespace {

TEST(CheckDeathTest, EndsTheProcessWithPlaceConditionAndMessage) {
  const int blocks = 3;
  CHECK(blocks == 3, "not reached");
  EXPECT_DEATH(CHECK(blocks == 4, "a block is lost"),
               "check_test.cc:[0-9]+: CHECK failed: blocks == 4: a block is lost");
}

}  // namespace
}  // namespace thinkwire
