#include "worker/model/checkpoint/model_plan.h"

#include <gtest/gtest.h>

namespace thinkwire::worker::model {
namespace {

TEST(RequiredTensorsTest, CountsOfTheDistills) {
  ModelConfig qwen;
  qwen.qkv_bias = true;
  qwen.num_layers = 28;
  EXPECT_EQ(RequiredTensors(MakePlan(qwen)).size(), 339U);
  ModelConfig llama;
  llama.num_layers = 80;
  EXPECT_EQ(RequiredTensors(MakePlan(llama)).size(), 723U);
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
      const ModelPlan plan = MakePlan(config);
      std::int64_t total = 0;
      for (const TensorSpec& spec : RequiredTensors(plan)) total += spec.rows * spec.cols;
      EXPECT_EQ(total, CountParameters(plan));
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
