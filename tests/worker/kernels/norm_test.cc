#include <gtest/gtest.h>

#include <cmath>

#include "tests/worker/kernels/op_testing.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr float kEps = 1e-5F;

struct Normed {
  std::vector<float> sum;
  std::vector<float> out;
};

// AddRmsNorm of `tokens` rows of residual and partial, from row `first` on.
Normed RunAddRmsNorm(CpuBackend& backend, std::int64_t first, std::int64_t tokens,
                     std::int64_t width, bool in_place = false) {
  const auto rows = [&](std::uint32_t seed) {
    const std::vector<float> all = RandomFloats((first + tokens) * width, seed);
    return std::vector<float>(all.begin() + first * width, all.end());
  };
  const F32 partial({tokens, width}, DType::kF32, rows(1));
  F32 residual({tokens, width}, DType::kF32, rows(2));
  const Array<std::uint16_t> weight({width}, DType::kBf16, ToBf16(RandomFloats(width, 3)));
  F32 out({tokens, width}, DType::kF32);
  F32 sum({tokens, width}, DType::kF32);
  backend.AddRmsNorm({.partial = partial.tensor,
                      .residual = residual.tensor,
                      .sum = in_place ? residual.tensor : sum.tensor,
                      .weight = weight.tensor,
                      .eps = kEps,
                      .out = out.tensor});
  if (in_place) return {residual.values, out.values};
  EXPECT_TRUE(SameBits(residual.values, rows(2)));
  return {sum.values, out.values};
}

TEST(RmsNorm, EqualsDoublePrecision) {
  CpuBackend backend(2);
  for (const std::int64_t width : {1, 15, 16, 17, 1536}) {
    for (const std::int64_t tokens : {1, 40}) {
      const F32 x({tokens, width}, DType::kF32, RandomFloats(tokens * width, 1));
      const std::vector<float> w = RandomBf16Floats(width, 2);
      const Array<std::uint16_t> weight({width}, DType::kBf16, ToBf16(w));
      F32 out({tokens, width}, DType::kF32);
      backend.RmsNorm(x.tensor, weight.tensor, kEps, out.tensor);
      for (std::int64_t t = 0; t < tokens; ++t) {
        double squares = 0;
        for (std::int64_t i = 0; i < width; ++i) {
          squares += static_cast<double>(x[t * width + i]) * x[t * width + i];
        }
        const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + kEps);
        for (std::int64_t i = 0; i < width; ++i) {
          const double expected = x[t * width + i] * scale * w[static_cast<std::size_t>(i)];
          ASSERT_NEAR(out[t * width + i], expected, Tolerance::kNorm * std::fabs(expected));
        }
      }
    }
  }
}

TEST(AddRmsNorm, AddsThenNorms) {
  CpuBackend backend(2);
  const std::int64_t width = 33;
  const Normed result = RunAddRmsNorm(backend, 0, 3, width);
  const std::vector<float> partial = RandomFloats(3 * width, 1);
  const std::vector<float> before = RandomFloats(3 * width, 2);
  for (std::size_t i = 0; i < result.sum.size(); ++i) {
    EXPECT_EQ(result.sum[i], before[i] + partial[i]);
  }
  const F32 sum({3, width}, DType::kF32, result.sum);
  const Array<std::uint16_t> weight({width}, DType::kBf16, ToBf16(RandomFloats(width, 3)));
  F32 expected({3, width}, DType::kF32);
  backend.RmsNorm(sum.tensor, weight.tensor, kEps, expected.tensor);
  EXPECT_TRUE(SameBits(result.out, expected.values));
}

TEST(AddRmsNorm, SameBitsEverywhereAndForARowAlone) {
  CpuBackend reference(1, Isa::kPortable);
  for (const std::int64_t width : {1, 17, 96, 1000}) {
    const Normed all = RunAddRmsNorm(reference, 0, 37, width);
    for (const BackendCase& c : BackendCases()) {
      CpuBackend backend(c.threads, c.isa);
      const Normed result = RunAddRmsNorm(backend, 0, 37, width);
      EXPECT_TRUE(SameBits(result.out, all.out)) << NameOf(c);
      EXPECT_TRUE(SameBits(result.sum, all.sum)) << NameOf(c);
      const Normed in_place = RunAddRmsNorm(backend, 0, 37, width, true);
      EXPECT_TRUE(SameBits(in_place.out, all.out)) << NameOf(c);
      EXPECT_TRUE(SameBits(in_place.sum, all.sum)) << NameOf(c);
      const Normed last = RunAddRmsNorm(backend, 36, 1, width);
      EXPECT_TRUE(SameBits(last.out, {all.out.end() - width, all.out.end()})) << NameOf(c);
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
