#include "worker/model/layers/rope.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace thinkwire::worker::model {
namespace {

ModelConfig Llama() {
  ModelConfig config;
  config.head_dim = 128;
  config.rope = {500000, Llama3RopeScaling{8, 1, 4, 8192}};
  return config;
}

// The frequency that position 1 turns by.
double Frequency(const std::vector<float>& table, std::int64_t dim, std::int64_t i) {
  const auto row = static_cast<std::size_t>(dim);
  return std::atan2(table[row + static_cast<std::size_t>(dim / 2 + i)],
                    table[row + static_cast<std::size_t>(i)]);
}

TEST(RopeTableTest, PositionZeroDoesNotTurn) {
  const auto table = RopeTable(Llama(), 1);
  ASSERT_EQ(table.size(), 128U);
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(table[i], 1.0F);
    EXPECT_EQ(table[64 + i], 0.0F);
  }
}

// Indices 0-28 stay, 29-34 are blended, 35-63 are divided by 8.
TEST(RopeTableTest, Llama3DividesLongWavesOnly) {
  const ModelConfig stretched = Llama();
  ModelConfig plain = stretched;
  plain.rope.scaling = {};
  const auto a = RopeTable(stretched, 2);
  const auto b = RopeTable(plain, 2);
  for (std::int64_t i = 0; i < 64; ++i) {
    const double ratio = Frequency(b, 128, i) / Frequency(a, 128, i);
    if (i <= 28) {
      EXPECT_NEAR(ratio, 1, 1e-4) << i;
    } else if (i <= 34) {
      EXPECT_GT(ratio, 1.001) << i;
      EXPECT_LT(ratio, 7.999) << i;
    } else {
      EXPECT_NEAR(ratio, 8, 1e-2) << i;
    }
  }
}

TEST(RopeTableTest, FrequenciesFallGeometrically) {
  ModelConfig config;
  config.head_dim = 4;
  config.rope.theta = 10000;
  const auto table = RopeTable(config, 3);
  EXPECT_NEAR(table[2 * 4 + 0], std::cos(2.0), 1e-6);
  EXPECT_NEAR(table[2 * 4 + 1], std::cos(0.02), 1e-6);
  EXPECT_NEAR(table[2 * 4 + 2], std::sin(2.0), 1e-6);
  EXPECT_NEAR(table[2 * 4 + 3], std::sin(0.02), 1e-6);
}

// What transformers 5.24 computes: inv_freq of pairs 0, 1, 20, 30, 40 and 63 of a head of 128, and
// what it multiplies cosines and sines by.
void ExpectFrequencies(const RopeScaling& scaling, const std::array<double, 6>& expected,
                       double length = 1) {
  constexpr std::array<std::int64_t, 6> kPairs = {0, 1, 20, 30, 40, 63};
  ModelConfig config;
  config.head_dim = 128;
  config.rope = {10000, scaling};
  const auto table = RopeTable(config, 2);
  EXPECT_FLOAT_EQ(table[0], static_cast<float>(length));
  EXPECT_EQ(table[64], 0.0F);
  for (std::size_t i = 0; i < kPairs.size(); ++i) {
    EXPECT_NEAR(Frequency(table, 128, kPairs[i]) / expected[i], 1, 1e-6) << kPairs[i];
  }
}

TEST(RopeTableTest, LinearDividesEveryFrequency) {
  ExpectFrequencies(LinearRopeScaling{4},
                    {0.25, 0.21649109, 0.014058532, 0.0033338037, 0.00079056947, 2.8869548e-05});
}

TEST(RopeTableTest, YarnBlendsBetweenItsTwoBetas) {
  ExpectFrequencies(YarnRopeScaling{4, 1.138629436111989, 32, 1, true, 32768},
                    {1, 0.86596435, 0.056234129, 0.013335215, 0.0026879362, 2.8869548e-05},
                    1.138629436111989);
  ExpectFrequencies(YarnRopeScaling{40, 1.1557219901962608, 16, 2, true, 4096},
                    {1, 0.86596435, 0.056234129, 0.0092721414, 0.00027175824, 2.8869547e-06},
                    1.1557219901962608);
  ExpectFrequencies(YarnRopeScaling{40, 1.5, 32, 1, false, 4096},
                    {1, 0.86596435, 0.056234129, 0.0084462352, 0.00072263816, 2.8869547e-06}, 1.5);
}

}  // namespace
}  // namespace thinkwire::worker::model
