#include "common/shown_number.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace thinkwire {
namespace {

TEST(ShownNumberTest, SaysWholeNumbersByAllTheirDigits) {
  EXPECT_EQ(ShownNumber(std::numeric_limits<std::int32_t>::min()), "-2147483648");
  EXPECT_EQ(ShownNumber(1'048'576), "1048576");
  EXPECT_EQ(ShownNumber(1e12), "1000000000000");
  EXPECT_EQ(ShownNumber(-0.0), "0");
}

TEST(ShownNumberTest, TellsANumberFromThoseBesideIt) {
  EXPECT_EQ(ShownNumber(1.0000001F), "1.0000001");
  EXPECT_EQ(ShownNumber(0.1F), "0.1");
  EXPECT_EQ(ShownNumber(0.1), "0.1");
  EXPECT_EQ(ShownNumber(1 + 1e-15), "1.000000000000001");
}

TEST(ShownNumberTest, KnowsTheEndsOfAllNumbers) {
  EXPECT_EQ(ShownNumber(1e300), "1e+300");
  EXPECT_EQ(ShownNumber(3e38F), "3e+38");
  EXPECT_EQ(ShownNumber(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(ShownNumber(std::numeric_limits<double>::quiet_NaN()), "nan");
}

}  // namespace
}  // namespace thinkwire
