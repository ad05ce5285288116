#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/e4m3.h"
#include "worker/kernels/write_group_block.h"

// Products with weights in FP8 on a CPU that rounds their inputs: the bits of a product with inputs
// that were rounded before.
namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kIn = 384;
constexpr std::int64_t kOut = 24;
constexpr std::int64_t kTokens = 9;

struct Host {};  // e4m3.h's rules on the host

std::vector<char> RandomBlocks() {
  std::mt19937 random(1);
  std::vector<char> bytes(static_cast<std::size_t>(BytesOf(Encoding::kFp8, kIn * kOut)));
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(kFp8Columns));
  for (std::size_t at = 0; at < bytes.size(); at += kFp8PackedBytes) {
    for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(random() % 0x7F);
    WriteGroupBlock(Encoding::kFp8, codes, 0, 0.001F * static_cast<float>(1 + random() % 7),
                    bytes.data() + at);
  }
  return bytes;
}

WeightSlice SliceOf(const std::vector<char>& blocks) {
  return {.data = blocks.data(),
          .encoding = Encoding::kFp8,
          .rows = kOut,
          .cols = kIn,
          .row_stride = kIn};
}

std::vector<float> Rounded(std::vector<float> x) {
  for (std::int64_t t = 0; t < kTokens; ++t) {
    float* const row = x.data() + t * kIn;
    float most = 0;
    for (std::int64_t c = 0; c < kIn; ++c) most = std::max(most, std::abs(row[c]));
    for (std::int64_t c = 0; c < kIn; ++c) {
      const float code = FloatFromE4m3<Host>(E4m3FromFloat<Host>(row[c] * (448.0F / most)));
      row[c] = code * (most / 448.0F);
    }
  }
  return x;
}

std::vector<float> Product(Backend& backend, const WeightSlice& slice, const std::vector<float>& x,
                           std::int64_t tokens) {
  const auto weight = backend.MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
  const DeviceFloats in = Act(backend, {tokens, kIn}, RowsOf(x, kIn, 0, tokens));
  const DeviceFloats out = PoisonedAct(backend, {tokens, kOut});
  backend.Linear(in.tensor(), *weight, out.tensor());
  return out.Read();
}

TEST(CpuFp8InputsTest, AProductRoundsItsInputs) {
  CpuBackend rounding(2, BestIsa(), true);
  CpuBackend plain(2);
  const std::vector<char> blocks = RandomBlocks();
  const std::vector<float> x = RandomFloats(kTokens * kIn, 3);
  const std::vector<float> got = Product(rounding, SliceOf(blocks), x, kTokens);
  EXPECT_TRUE(SameBits(got, Product(plain, SliceOf(blocks), Rounded(x), kTokens)));
  EXPECT_FALSE(SameBits(got, Product(plain, SliceOf(blocks), x, kTokens)));
  EXPECT_TRUE(StartsWith(got, Product(rounding, SliceOf(blocks), x, 1)));
}

TEST(CpuFp8InputsTest, WeightsOfOtherFormsTakeThemAsTheyAre) {
  CpuBackend rounding(2, BestIsa(), true);
  CpuBackend plain(2);
  const std::vector<float> values = RandomBf16Floats(kOut * kIn, 5);
  const WeightSlice slice = kernels::SliceOf(values, kOut, kIn);
  const std::vector<float> x = RandomFloats(kTokens * kIn, 3);
  EXPECT_TRUE(SameBits(Product(rounding, slice, x, kTokens), Product(plain, slice, x, kTokens)));
}

TEST(CpuFp8InputsTest, ARowThatIsNotFiniteShowsIt) {
  CpuBackend rounding(2, BestIsa(), true);
  const std::vector<char> blocks = RandomBlocks();
  std::vector<float> x(static_cast<std::size_t>(kTokens * kIn));
  x[2 * kIn + 5] = std::numeric_limits<float>::infinity();
  x[4 * kIn + 7] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> out = Product(rounding, SliceOf(blocks), x, kTokens);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t token = i / kOut;
    if (token == 2 || token == 4) {
      EXPECT_FALSE(std::isfinite(out[i]));
    } else {
      EXPECT_EQ(out[i], 0);
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
