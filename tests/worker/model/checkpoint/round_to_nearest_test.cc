#include "worker/model/checkpoint/round_to_nearest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "worker/kernels/blocks_fp8.h"
#include "worker/kernels/convert.h"

namespace thinkwire::worker::model {
namespace {

float FromE4m3(std::uint8_t code) { return kernels::FloatFromE4m3<void>(code); }

TEST(RoundToNearestTest, F16KeepsWhatItHolds) {
  for (std::uint32_t bits = 0; bits < 0x7C00; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    ASSERT_EQ(F16FromF32(kernels::F32FromF16(half)), half);
    ASSERT_EQ(F16FromF32(-kernels::F32FromF16(half)), half | 0x8000);
  }
}

TEST(RoundToNearestTest, F16TiesToEvenAndSaturates) {
  EXPECT_EQ(F16FromF32(1 + 0x1p-11F), 0x3C00);
  EXPECT_EQ(F16FromF32(1 + 3 * 0x1p-11F), 0x3C02);
  EXPECT_EQ(F16FromF32(0x1p-25F), 0);
  EXPECT_EQ(F16FromF32(65519), 0x7BFF);
  EXPECT_EQ(F16FromF32(-1e30F), 0xFBFF);
}

TEST(RoundToNearestTest, E4m3KeepsWhatItHoldsAndTakesTheNearest) {
  for (int code = 0; code < 0x7E; ++code) {
    const float here = FromE4m3(static_cast<std::uint8_t>(code));
    const float next = FromE4m3(static_cast<std::uint8_t>(code + 1));
    const float middle = (here + next) / 2;
    ASSERT_EQ(E4m3FromF32(here), code);
    ASSERT_EQ(E4m3FromF32(-here), code | 0x80);
    ASSERT_EQ(E4m3FromF32(std::nextafter(middle, 0.0F)), code);
    ASSERT_EQ(E4m3FromF32(std::nextafter(middle, 1000.0F)), code + 1);
    ASSERT_EQ(E4m3FromF32(middle), code + code % 2) << "ties to even";
  }
}

TEST(RoundToNearestTest, E4m3IsNeverNan) {
  EXPECT_EQ(E4m3FromF32(464), 0x7E);
  EXPECT_EQ(E4m3FromF32(1e30F), 0x7E);
  EXPECT_EQ(E4m3FromF32(-HUGE_VALF), 0xFE);
  EXPECT_EQ(E4m3FromF32(std::nanf("")), 0x7E);
}

TEST(RoundToNearestTest, Int4KeepsWhatItHolds) {
  std::vector<float> weights;
  for (int i = 0; i < 32; ++i) weights.push_back(0.25F * static_cast<float>(i % 16 - 5));
  std::vector<std::uint8_t> q(weights.size());
  const Int4Scale scale = RoundToInt4(weights, q.data());
  EXPECT_EQ(scale.scale, 0x3400);
  EXPECT_EQ(scale.zero, 5);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(q[i], i % 16);
}

// One weight is far off: steps that reach it lose more of all the others than they keep of it.
TEST(RoundToNearestTest, Int4SearchLosesLessThanTheWholeRange) {
  std::vector<float> weights(128);
  for (int i = 0; i < 128; ++i) weights[i] = std::sin(static_cast<float>(i * i)) * 0.5F;
  weights[17] = 1.5F;
  const auto loss = [&](float scale, float zero) {
    double sum = 0;
    for (const float weight : weights) {
      const float q = std::fmin(std::fmax(std::nearbyint(weight / scale) + zero, 0.0F), 15.0F);
      sum += std::pow(static_cast<double>((q - zero) * scale - weight), 2);
    }
    return sum;
  };
  std::vector<std::uint8_t> q(weights.size());
  const Int4Scale found = RoundToInt4(weights, q.data());
  const float whole = 2.0F / 15;  // from about -0.5 to 1.5
  EXPECT_LT(loss(kernels::F32FromF16(found.scale), found.zero), loss(whole, 4));
}

TEST(RoundToNearestTest, ZerosStayZeros) {
  const std::vector<float> weights(32);
  std::vector<std::uint8_t> q(weights.size(), 9);
  const Int4Scale scale = RoundToInt4(weights, q.data());
  EXPECT_GT(scale.scale, 0);
  for (const std::uint8_t number : q) EXPECT_EQ(number, scale.zero);
  EXPECT_GT(RoundToE4m3(weights, q.data()), 0);
  for (const std::uint8_t number : q) EXPECT_EQ(number, 0);
}

// By the definition: eighths of an octave from what fills the range on, each weight to its nearest.
TEST(RoundToNearestTest, TheScaleOfE4m3LosesLeast) {
  std::uint32_t state = 1;
  for (int size = 1; size < 2000; size += 37) {
    std::vector<float> weights(static_cast<std::size_t>(size));
    float most = 0;
    for (float& weight : weights) {
      state = state * 1664525U + 1013904223U;
      weight = std::ldexp(static_cast<float>(state >> 8) * 0x1p-24F - 0.5F,
                          -static_cast<int>(state >> 3 & 15));
      most = std::fmax(most, std::fabs(weight));
    }
    float best = 0;
    double least = HUGE_VAL;
    for (int i = 0; i < 8; ++i) {
      const float scale = most / 448 * std::exp2(static_cast<float>(i) / 8);
      double loss = 0;
      for (const float weight : weights) {
        const float became = FromE4m3(E4m3FromF32(weight / scale)) * scale;
        loss += std::pow(static_cast<double>(became - weight), 2);
      }
      if (loss < least) best = scale;
      least = std::fmin(least, loss);
    }
    std::vector<std::uint8_t> q(weights.size());
    ASSERT_EQ(RoundToE4m3(weights, q.data()), best) << size;
    for (std::size_t i = 0; i < q.size(); ++i) ASSERT_EQ(q[i], E4m3FromF32(weights[i] / best));
  }
}

TEST(RoundToNearestTest, AScaleOfE4m3ClipsNothing) {
  const std::vector<float> weights = {0.001F, -3.5F, 0.3F, 2.25F};
  std::vector<std::uint8_t> q(weights.size());
  const float scale = RoundToE4m3(weights, q.data());
  EXPECT_GE(scale, 3.5F / 448);
  EXPECT_LT(scale, 2 * 3.5F / 448);
}

}  // namespace
}  // namespace thinkwire::worker::model
