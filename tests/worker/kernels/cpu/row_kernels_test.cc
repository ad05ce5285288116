#include "worker/kernels/cpu/row_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/worker/kernels/op_testing.h"

namespace thinkwire::worker::kernels {
namespace {

TEST(RowKernels, ExpIsAccurateAndTheSameOnEveryInstructionSet) {
  std::vector<float> x = {0.0F,
                          -0.0F,
                          1.0F,
                          -1.0F,
                          -86.9F,
                          87.9F,
                          -87.1F,
                          -1000.0F,
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()};
  for (const float value : RandomFloats(1000, 7, 20.0F)) x.push_back(value);
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<float> expected(x.size());
  RowKernelsFor(Isa::kPortable).exp_minus(x.data(), 0.0F, expected.data(), n);
  EXPECT_EQ(expected[0], 1.0F);
  EXPECT_EQ(expected[7], 0.0F);
  EXPECT_EQ(expected[8], 0.0F);
  EXPECT_TRUE(std::isnan(expected[9]));
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!(x[i] > -87.0F && x[i] < 88.0F)) continue;
    EXPECT_NEAR(expected[i] / std::exp(static_cast<double>(x[i])), 1.0, 2e-7) << x[i];
  }
  for (const Isa isa : kAllIsas) {
    if (!IsSupported(isa)) continue;
    std::vector<float> y(x.size());
    RowKernelsFor(isa).exp_minus(x.data(), 0.0F, y.data(), n);
    EXPECT_TRUE(SameBits({y.begin(), y.begin() + 9}, {expected.begin(), expected.begin() + 9}));
    EXPECT_TRUE(SameBits({y.begin() + 10, y.end()}, {expected.begin() + 10, expected.end()}));
    EXPECT_TRUE(std::isnan(y[9]));
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
