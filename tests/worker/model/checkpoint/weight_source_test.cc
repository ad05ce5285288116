#include "worker/model/checkpoint/weight_source.h"

#include <gtest/gtest.h>

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

TEST(CheckRegionDeathTest, ARegionLiesWithinItsTensor) {
  const TensorSpec spec = {"x", 8, 6, false};
  CheckRegion(spec, {0, 8, 0, 6}, Encoding::kBf16);
  CheckRegion(spec, {8, 0, 0, 6}, Encoding::kF32);
  EXPECT_DEATH(CheckRegion(spec, {1, 8, 0, 6}, Encoding::kBf16), "within its tensor");
  EXPECT_DEATH(CheckRegion(spec, {0, 8, 3, 4}, Encoding::kF16), "within its tensor");
  EXPECT_DEATH(CheckRegion(spec, {-1, 2, 0, 6}, Encoding::kBf16), "within its tensor");
}

TEST(CheckRegionDeathTest, APackedRegionIsWholeBlocks) {
  const TensorSpec spec = {"x", 8, 512, false};
  CheckRegion(spec, {1, 3, 256, 256}, Encoding::kQ4K);
  CheckRegion(spec, {1, 3, 32, 64}, Encoding::kQ8_0);
  EXPECT_DEATH(CheckRegion(spec, {0, 8, 128, 256}, Encoding::kQ4K), "whole groups");
  EXPECT_DEATH(CheckRegion(spec, {0, 8, 0, 48}, Encoding::kQ8_0), "whole groups");
}

TEST(NameOfTest, IsTheFingerprintsWord) {
  EXPECT_EQ(NameOf(Encoding::kBf16), "bf16");
  EXPECT_EQ(NameOf(Encoding::kF16), "f16");
  EXPECT_EQ(NameOf(Encoding::kF32), "f32");
  EXPECT_EQ(NameOf(Encoding::kQ8_0), "q8_0");
  EXPECT_EQ(NameOf(Encoding::kQ4K), "q4_k");
  EXPECT_EQ(NameOf(Encoding::kIq4Xs), "iq4_xs");
}

}  // namespace
}  // namespace thinkwire::worker::model
