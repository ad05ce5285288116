#include "worker/kernels/cpu/cpu_linear_weight.h"

#include <gtest/gtest.h>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {
namespace {

class AnotherDevicesWeight final : public LinearWeight {
 public:
  DeviceKind device() const override { return DeviceKind::kCuda; }
  std::int64_t out_features() const override { return 8; }
  std::int64_t in_features() const override { return 8; }
  std::size_t bytes() const override { return 0; }
};

TEST(CpuLinearWeight, IsFromAWeightThatTheCpuMade) {
  const std::vector<float> values(64, 1.0F);
  const WeightSlice slice = SliceOf(values, 8, 8);
  const auto weight = CpuBackend(1).MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
  EXPECT_EQ(&CpuLinearWeight::From(*weight), weight.get());
  EXPECT_DEATH(CpuLinearWeight::From(AnotherDevicesWeight()), "a weight that the CPU made");
}

}  // namespace
}  // namespace thinkwire::worker::kernels
