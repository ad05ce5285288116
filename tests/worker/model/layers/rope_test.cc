#include "worker/model/layers/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace thinkwire::worker::model {
namespace {

ModelConfig Llama() {
  ModelConfig config;
  config.head_dim = 128;
  config.rope_theta = 500000;
  config.rope_scaling = Llama3RopeScaling{8, 1, 4, 8192};
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
  plain.rope_scaling.reset();
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
  config.rope_theta = 10000;
  const auto table = RopeTable(config, 3);
  EXPECT_NEAR(table[2 * 4 + 0], std::cos(2.0), 1e-6);
  EXPECT_NEAR(table[2 * 4 + 1], std::cos(0.02), 1e-6);
  EXPECT_NEAR(table[2 * 4 + 2], std::sin(2.0), 1e-6);
  EXPECT_NEAR(table[2 * 4 + 3], std::sin(0.02), 1e-6);
}

}  // namespace
}  // namespace thinkwire::worker::model
