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

TEST(NameOfTest, IsTheFingerprintsWord) {
  EXPECT_EQ(NameOf(Encoding::kBf16), "bf16");
  EXPECT_EQ(NameOf(Encoding::kF16), "f16");
  EXPECT_EQ(NameOf(Encoding::kF32), "f32");
}

}  // namespace
}  // namespace thinkwire::worker::model
