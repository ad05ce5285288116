#include "worker/model/checkpoint/model_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

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

TEST(ModelPlanTest, ATiedHeadIsTheEmbeddingSplitByRows) {
  ModelConfig config;
  config.vocab_size = 50;
  config.hidden_size = 8;
  config.tie_word_embeddings = true;
  const ModelPlan plan = MakePlan(config);
  EXPECT_EQ(plan.head.matrices.front().spec.name, plan.embedding.spec.name);
  EXPECT_EQ(plan.head.matrices.front().division, Division::kVocabulary);
  EXPECT_EQ(plan.embedding.division, Division::kWhole);
  EXPECT_TRUE(IsSurplus(plan, "lm_head.weight"));
  config.tie_word_embeddings = false;
  EXPECT_FALSE(IsSurplus(MakePlan(config), "lm_head.weight"));
  EXPECT_TRUE(IsSurplus(MakePlan(config), "model.layers.0.self_attn.rotary_emb.inv_freq"));
}

TEST(ModelPlanTest, AttentionAloneKeepsPlanes) {
  ModelConfig config;
  config.num_layers = 2;
  config.num_kv_heads = 2;
  config.head_dim = 16;
  for (const LayerPlan& layer : MakePlan(config).layers) {
    ASSERT_EQ(layer.size(), 2U);
    EXPECT_EQ(layer[0].kind, PartKind::kGroupedQuery);
    ASSERT_EQ(layer[0].kv_planes.size(), 2U);
    EXPECT_EQ(layer[0].kv_planes[0].division, Division::kKvHeads);
    EXPECT_EQ(layer[0].kv_planes[0].width, 16);
    EXPECT_TRUE(layer[1].kv_planes.empty());
  }
}

// With matrices of whole blocks.
ModelPlan PlanOfLayers(std::int32_t layers) {
  ModelConfig config;
  config.num_layers = layers;
  config.num_heads = 2;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.hidden_size = 256;
  config.intermediate_size = 512;
  config.vocab_size = 50;
  return MakePlan(config);
}

TEST(ModelPlanTest, PackedLayersAreDividedByWholeBlocks) {
  ModelPlan plan = PlanOfLayers(1);
  SetMatrixEncoding(kernels::Encoding::kInt4, plan);
  EXPECT_EQ(EncodingsOf(plan), "bf16+int4");
  EXPECT_EQ(NeedsCpu(plan), "");
  plan.head.matrices.front().spec.reordered = true;
  EXPECT_THAT(NeedsCpu(plan), testing::HasSubstr("desc_act"));
  EXPECT_EQ(plan.head.matrices.front().spec.encoding, kernels::Encoding::kBf16);
  EXPECT_EQ(plan.embedding.spec.encoding, kernels::Encoding::kBf16);
  const Divided& ffn = plan.divided[static_cast<std::size_t>(Division::kFfn)];
  EXPECT_EQ(ffn.count, 4);
  EXPECT_EQ(ffn.unit, 128);
}

TEST(ModelPlanTest, Q4KIsMixedAsItsFilesAre) {
  ModelPlan plan = PlanOfLayers(28);
  SetMatrixEncoding(kernels::Encoding::kQ4K, plan);
  EXPECT_EQ(plan.head.matrices.front().spec.encoding, kernels::Encoding::kQ6K);
  EXPECT_EQ(plan.embedding.spec.encoding, kernels::Encoding::kBf16);
  std::vector<std::string> finer;
  ForEachMatrix(plan, [&](PlannedTensor& matrix) {
    if (matrix.spec.encoding == kernels::Encoding::kQ6K) finer.push_back(matrix.spec.name);
  });
  // 14 layers of 28, as in the published 7B file: 0 to 2, 5, 8, ... 23, 24 to 27.
  EXPECT_EQ(finer.size(), 2U * 14U + 1U);
  EXPECT_EQ(finer[0], "model.layers.0.self_attn.v_proj.weight");
  EXPECT_EQ(finer[1], "model.layers.0.mlp.down_proj.weight");
  EXPECT_EQ(finer[6], "model.layers.5.self_attn.v_proj.weight");
}

}  // namespace
}  // namespace thinkwire::worker::model
