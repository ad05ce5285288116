#include "worker/model/layers/weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "worker/model/checkpoint/random_weights.h"

namespace thinkwire::worker::model {
namespace {

float ToFloat(std::uint16_t bf16) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bf16) << 16);
}

TEST(RandomWeightsTest, APartIsThePartOfTheWhole) {
  const RandomWeights weights(9);
  const TensorSpec spec = {"model.layers.0.mlp.down_proj.weight", 12, 20, false};
  const HostSlice whole = weights.Slice(spec, {0, 12, 0, 20});
  const HostSlice part = weights.Slice(spec, {3, 5, 10, 7});
  const auto* all = static_cast<const std::uint16_t*>(whole.slice.data);
  const auto* some = static_cast<const std::uint16_t*>(part.slice.data);
  for (std::int64_t r = 0; r < 5; ++r) {
    for (std::int64_t c = 0; c < 7; ++c) {
      EXPECT_EQ(some[r * part.slice.row_stride + c],
                all[(r + 3) * whole.slice.row_stride + c + 10]);
    }
  }
}

TEST(RandomWeightsTest, TensorsAndSeedsDiffer) {
  const TensorSpec a = {"model.layers.0.mlp.up_proj.weight", 8, 8, false};
  const TensorSpec b = {"model.layers.1.mlp.up_proj.weight", 8, 8, false};
  const auto values = [](std::uint64_t seed, const TensorSpec& spec) {
    return RandomWeights(seed).Slice(spec, {0, 8, 0, 8}).owned;
  };
  EXPECT_EQ(values(1, a), values(1, a));
  EXPECT_NE(values(1, a), values(1, b));
  EXPECT_NE(values(1, a), values(2, a));
}

TEST(RandomWeightsTest, MatricesKeepVariance) {
  const TensorSpec spec = {"model.layers.0.mlp.up_proj.weight", 200, 100, false};
  const HostSlice slice = RandomWeights(0).Slice(spec, {0, 200, 0, 100});
  double sum = 0;
  double squares = 0;
  for (const std::uint16_t v : slice.owned) {
    sum += ToFloat(v);
    squares += std::pow(ToFloat(v), 2);
  }
  EXPECT_NEAR(sum / 20000, 0, 0.005);
  EXPECT_NEAR(squares / 20000, 0.01, 0.0005);
}

TEST(RequiredTensorsTest, CountsOfTheDistills) {
  ModelConfig qwen;
  qwen.qkv_bias = true;
  qwen.num_layers = 28;
  EXPECT_EQ(RequiredTensors(qwen).size(), 339U);
  ModelConfig llama;
  llama.num_layers = 80;
  EXPECT_EQ(RequiredTensors(llama).size(), 723U);
}

TEST(RequiredTensorsTest, AddUpToTheParameters) {
  ModelConfig config;
  config.hidden_size = 64;
  config.num_layers = 3;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.intermediate_size = 96;
  config.vocab_size = 50;
  for (const bool bias : {false, true}) {
    for (const bool tied : {false, true}) {
      config.qkv_bias = bias;
      config.tie_word_embeddings = tied;
      std::int64_t total = 0;
      for (const TensorSpec& spec : RequiredTensors(config)) total += spec.rows * spec.cols;
      EXPECT_EQ(total, CountParameters(config));
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
