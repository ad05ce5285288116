#include "worker/kernels/noise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

namespace thinkwire::worker::kernels {
namespace {

TEST(Philox, GivesThePublishedVectors) {  // Random123's kat_vectors, philox4x32 10
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627E8D5U, 0xE169C58DU, 0xBC57AC4CU, 0x9B00DBD8U}));
  EXPECT_EQ(Philox4x32({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}),
            (Words{0x408F276DU, 0x41C83B0EU, 0xA20BC7C6U, 0x6D5451FDU}));
  EXPECT_EQ(
      Philox4x32({0x243F6A88U, 0x85A308D3U, 0x13198A2EU, 0x03707344U}, {0xA4093822U, 0x299F31D0U}),
      (Words{0xD16CFE09U, 0x94FDCCEBU, 0x5001E420U, 0x24126EA1U}));
}

TEST(Noise, LogIsAccurate) {
  for (double x = 1e-30; x < 1e30; x *= 1.0037) {
    const float f = static_cast<float>(x);
    const double expected = std::log(static_cast<double>(f));
    ASSERT_NEAR(Log(f), expected, 2e-7 * std::max(std::fabs(expected), 1e-3)) << f;
  }
}

TEST(Noise, GumbelFollowsItsFormulaToBothEnds) {
  std::vector<std::uint32_t> words = {0, 1, 2, 0x7FFFFFFFU, 0x80000000U, ~0U, ~0U - 1};
  for (std::uint64_t w = 0; w < 0xFFFFFFFFU; w += 999983) {
    words.push_back(static_cast<std::uint32_t>(w));
  }
  for (const std::uint32_t word : words) {
    const double half_open = (static_cast<double>(word) + 0.5) * 0x1p-32;
    const double rest = (static_cast<double>(~word) + 0.5) * 0x1p-32;
    const double minus_log = half_open < 0.5 ? -std::log(half_open) : -std::log1p(-rest);
    ASSERT_NEAR(GumbelOf(word), -std::log(minus_log), 3e-6) << word;
  }
  EXPECT_LT(GumbelOf(~0U), kMaxGumbel);
  EXPECT_GT(GumbelOf(~0U), 22.8F);
  EXPECT_GT(GumbelOf(0), -3.2F);
}

}  // namespace
}  // namespace thinkwire::worker::kernels
