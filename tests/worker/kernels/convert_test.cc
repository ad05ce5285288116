#include "worker/kernels/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

namespace thinkwire::worker::kernels {
namespace {

TEST(Convert, Bf16RoundsToNearestEven) {
  EXPECT_EQ(Bf16FromF32(1.0F), 0x3F80);
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3F808000U)), 0x3F80);  // tie: down to even
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3F818000U)), 0x3F82);  // tie: up to even
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3F808001U)), 0x3F81);
  EXPECT_EQ(Bf16FromF32(-std::numeric_limits<float>::infinity()), 0xFF80);
  EXPECT_TRUE(std::isnan(F32FromBf16(Bf16FromF32(std::bit_cast<float>(0x7F800001U)))));
}

TEST(Convert, F16IsWidenedExactly) {
  EXPECT_EQ(F32FromF16(0x3C00), 1.0F);
  EXPECT_EQ(F32FromF16(0xC500), -5.0F);
  EXPECT_EQ(F32FromF16(0x0001), 0x1p-24F);
  EXPECT_EQ(F32FromF16(0x83FF), -1023 * 0x1p-24F);
  EXPECT_EQ(F32FromF16(0x7BFF), 65504.0F);
  EXPECT_EQ(F32FromF16(0x7C00), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(F32FromF16(0x7E00)));
}

}  // namespace
}  // namespace thinkwire::worker::kernels
