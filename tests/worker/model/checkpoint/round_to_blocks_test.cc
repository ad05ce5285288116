#include "worker/model/checkpoint/round_to_blocks.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "worker/kernels/convert.h"
#include "worker/kernels/unpack_row.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

std::vector<std::uint8_t> Rounded(Encoding encoding, const std::vector<float>& row) {
  const auto elements = static_cast<std::int64_t>(row.size());
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(kernels::BytesOf(encoding, elements)));
  RoundRow(encoding, row, reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

// What the row is read back as.
std::vector<float> Became(Encoding encoding, const std::vector<float>& row) {
  const std::vector<std::uint8_t> bytes = Rounded(encoding, row);
  std::vector<float> out(row.size());
  kernels::UnpackRow(encoding, bytes.data(), static_cast<std::int64_t>(row.size()), out.data());
  return out;
}

std::vector<float> Normal(std::size_t size, float deviation) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> row(size);
  for (float& weight : row) weight = normal(random);
  return row;
}

// The root of the mean square of what was lost, by that of the weights.
double RelativeLoss(Encoding encoding, const std::vector<float>& row) {
  const std::vector<float> became = Became(encoding, row);
  double lost = 0;
  double sum = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    lost += std::pow(static_cast<double>(became[i]) - row[i], 2);
    sum += std::pow(static_cast<double>(row[i]), 2);
  }
  return std::sqrt(lost / sum);
}

// gguf.quants.quantize(x, Q8_0) of gguf-py 0.19.0 for x[i] = float32((i * 37 % 101 - 50) / 64.0).
TEST(RoundToBlocksTest, Q8HasTheBytesOfGgufPy) {
  const std::array<std::uint8_t, 34> expected = {
      77, 30, 129, 223, 61,  154, 248, 86,  180, 18, 112, 205, 43,  137, 231, 69,  162,
      0,  94, 187, 25,  119, 213, 51,  144, 238, 76, 170, 8,   102, 195, 33,  127, 220};
  std::vector<float> row;
  for (int i = 0; i < 32; ++i) row.push_back(static_cast<float>(i * 37 % 101 - 50) / 64);
  const std::vector<std::uint8_t> bytes = Rounded(Encoding::kQ8_0, row);
  ASSERT_EQ(bytes.size(), expected.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], expected[i]) << i;
}

// Of a normal distribution of weights; a search that finds less shows here.
TEST(RoundToBlocksTest, LosesAsLittleAsIsKnown) {
  const std::vector<float> row = Normal(256 * 64, 0.02F);
  EXPECT_LT(RelativeLoss(Encoding::kQ8_0, row), 0.007);
  EXPECT_LT(RelativeLoss(Encoding::kQ6K, row), 0.02);
  EXPECT_LT(RelativeLoss(Encoding::kQ4K, row), 0.08);
}

// Weights that are whole numbers of one step, with the range's ends among each group.
TEST(RoundToBlocksTest, KeepsWhatABlockHolds) {
  std::vector<float> four;
  std::vector<float> six;
  for (int i = 0; i < 256; ++i) {
    four.push_back(0.5F * static_cast<float>(i % 16 - 6));
    six.push_back(0.25F * static_cast<float>(i % 16 * 4 - 32));
  }
  const std::vector<float> became_four = Became(Encoding::kQ4K, four);
  const std::vector<float> became_six = Became(Encoding::kQ6K, six);
  for (int i = 0; i < 256; ++i) {
    EXPECT_NEAR(became_four[i], four[i], 0.002) << i;
    EXPECT_NEAR(became_six[i], six[i], 0.005) << i;
  }
}

// Groups that differ a thousandfold share one d.
TEST(RoundToBlocksTest, SmallGroupsBesideLargeOnesStaySmall) {
  std::vector<float> row = Normal(256, 1e-5F);
  row[200] = 10;
  for (const Encoding encoding : {Encoding::kQ4K, Encoding::kQ6K}) {
    const std::vector<float> became = Became(encoding, row);
    EXPECT_NEAR(became[200], 10, 0.1);
    for (int i = 0; i < 192; ++i) EXPECT_LT(std::fabs(became[i]), 1e-4F) << i;
  }
}

TEST(RoundToBlocksTest, OneValueIsKept) {
  for (const float value : {0.0F, 0.75F, -0.75F, 1e-30F, -1e-42F}) {
    const std::vector<float> row(256, value);
    for (const Encoding encoding : {Encoding::kQ8_0, Encoding::kQ4K, Encoding::kQ6K}) {
      for (const float became : Became(encoding, row)) {
        ASSERT_NEAR(became, value, std::fabs(value) / 200 + 1e-9F);
      }
    }
  }
}

TEST(RoundToBlocksTest, EveryBlockIsFinite) {
  std::vector<float> row = Normal(256, 3e38F / 8);
  row[3] = 3.4e38F;
  row[130] = -3.4e38F;
  for (const Encoding encoding : {Encoding::kQ8_0, Encoding::kQ4K, Encoding::kQ6K}) {
    for (const float became : Became(encoding, row)) ASSERT_TRUE(std::isfinite(became));
  }
}

TEST(RoundToBlocksTest, NumbersByThemselvesAreStored) {
  const std::vector<float> row = {1.0F, -2.5F, 1.00390625F};
  std::array<float, 3> floats{};
  RoundRow(Encoding::kF32, row, reinterpret_cast<std::byte*>(floats.data()));
  EXPECT_EQ(floats[2], row[2]);
  std::array<std::uint16_t, 3> halves{};
  RoundRow(Encoding::kBf16, row, reinterpret_cast<std::byte*>(halves.data()));
  EXPECT_EQ(kernels::F32FromBf16(halves[1]), -2.5F);
  EXPECT_EQ(kernels::F32FromBf16(halves[2]), 1.0F);
}

}  // namespace
}  // namespace thinkwire::worker::model
