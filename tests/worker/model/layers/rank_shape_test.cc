#include "worker/model/layers/rank_shape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire::worker::model {
namespace {

ModelConfig Shape(std::int64_t heads, std::int64_t kv_heads, std::int64_t ffn) {
  ModelConfig config;
  config.num_heads = heads;
  config.num_kv_heads = kv_heads;
  config.intermediate_size = ffn;
  config.head_dim = 128;
  config.vocab_size = 1001;
  return config;
}

std::vector<int> Allowed(const ModelConfig& config, int up_to) {
  std::vector<int> allowed;
  for (int ranks = 1; ranks <= up_to; ++ranks) {
    if (CheckSplit(MakePlan(config), ranks).ok()) allowed.push_back(ranks);
  }
  return allowed;
}

TEST(TensorParallelTest, AllowsTheSizesOfTheDistills) {
  using testing::ElementsAre;
  EXPECT_THAT(Allowed(Shape(12, 2, 8960), 128), ElementsAre(1, 2, 4));
  EXPECT_THAT(Allowed(Shape(28, 4, 18944), 128), ElementsAre(1, 2, 4));
  EXPECT_THAT(Allowed(Shape(40, 8, 13824), 128), ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(Allowed(Shape(32, 8, 14336), 128), ElementsAre(1, 2, 4, 8, 16, 32));
  EXPECT_THAT(Allowed(Shape(64, 8, 28672), 128), ElementsAre(1, 2, 4, 8, 16, 32, 64));
}

TEST(TensorParallelTest, RefusalNamesTheAllowedSizes) {
  const std::string message(CheckSplit(MakePlan(Shape(12, 2, 8960)), 3).message());
  EXPECT_THAT(message, testing::HasSubstr("tensor_parallel_size 3"));
  EXPECT_THAT(message, testing::EndsWith("allowed: 1, 2, 4"));
  EXPECT_FALSE(CheckSplit(MakePlan(Shape(12, 2, 8960)), 0).ok());
  EXPECT_FALSE(CheckSplit(MakePlan(Shape(12, 2, 8960)), -1).ok());
}

TEST(TensorParallelTest, SharesCoverTheModel) {
  const ModelConfig config = Shape(12, 2, 8960);
  for (const int ranks : {1, 2, 4}) {
    std::int64_t heads = 0;
    std::int64_t ffn = 0;
    std::int64_t vocab = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const RankShape shape = ShapeOfRank(MakePlan(config), rank, ranks);
      const Share& query = shape.of(Division::kQueryHeads);
      const Share& keys = shape.of(Division::kKvHeads);
      EXPECT_EQ(query.first, heads);
      EXPECT_EQ(shape.of(Division::kFfn).first, ffn);
      EXPECT_EQ(shape.of(Division::kVocabulary).first, vocab);
      // Every query head finds its KV head on its rank.
      for (std::int64_t h = heads; h < heads + query.count; ++h) {
        const std::int64_t kv = h / (config.num_heads / config.num_kv_heads);
        const std::int64_t local = (h - heads) / (query.count / keys.count);
        EXPECT_EQ(keys.first + local, kv) << "head " << h << " of rank " << rank;
      }
      heads += query.count;
      ffn += shape.of(Division::kFfn).count;
      vocab += shape.of(Division::kVocabulary).count;
    }
    EXPECT_EQ(heads, 12);
    EXPECT_EQ(ffn, 8960);
    EXPECT_GE(vocab, 1001);
    EXPECT_LT(vocab, 1001 + ranks);
  }
}

// What a DeepseekV3 has beyond: as many experts as heads, each of `ffn` columns.
ModelConfig DeepseekShape(std::int64_t heads, std::int64_t ffn) {
  ModelConfig config = Shape(heads, heads, ffn);
  config.num_layers = 2;
  config.mla = MlaConfig{
      .kv_lora_rank = 64, .qk_nope_head_dim = 32, .qk_rope_head_dim = 16, .v_head_dim = 32};
  config.moe = MoeConfig{.n_routed_experts = heads,
                         .num_experts_per_tok = 1,
                         .n_shared_experts = 1,
                         .moe_intermediate_size = ffn,
                         .first_k_dense_replace = 1};
  return config;
}

TEST(SummandsTest, AreFourOfADeepseekOnUpToFourRanks) {
  const ModelPlan plan = MakePlan(DeepseekShape(8, 64));
  for (const int ranks : {1, 2, 4}) EXPECT_EQ(NumSummands(plan, ranks), 4) << ranks;
  EXPECT_EQ(NumSummands(plan, 8), 8);
  const ModelPlan of_six = MakePlan(DeepseekShape(6, 60));  // which four ranks do not share
  for (const int ranks : {1, 2}) EXPECT_EQ(NumSummands(of_six, ranks), 2) << ranks;
  EXPECT_EQ(NumSummands(of_six, 3), 3);
  const ModelPlan llama = MakePlan(Shape(8, 8, 64));
  for (const int ranks : {1, 2, 4}) EXPECT_EQ(NumSummands(llama, ranks), ranks);
}

TEST(SummandsTest, AreTheSharesOfFourRanks) {
  const ModelPlan plan = MakePlan(DeepseekShape(8, 64));
  for (const int ranks : {1, 2, 4}) {
    int quarter = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      for (const RankShape& summed : SummedShapes(ShapeOfRank(plan, rank, ranks))) {
        const RankShape expected = ShapeOfRank(plan, quarter++, 4);
        for (const Division division :
             {Division::kQueryHeads, Division::kFfn, Division::kExperts, Division::kSharedFfn}) {
          EXPECT_EQ(summed.of(division).first, expected.of(division).first);
          EXPECT_EQ(summed.of(division).count, expected.of(division).count);
        }
      }
    }
    EXPECT_EQ(quarter, 4);
  }
}

TEST(RegionOfTest, TakesRowsOrColumnsOfTheShare) {
  const ModelPlan plan = MakePlan(Shape(12, 2, 8960));
  const RankShape shape = ShapeOfRank(plan, 3, 4);
  const TensorSpec spec = {"x", 12 * 128, 8960, false};
  const Region rows = RegionOf({spec, Division::kQueryHeads, Axis::kRows}, shape);
  EXPECT_EQ(rows.first_row, 9 * 128);
  EXPECT_EQ(rows.rows, 3 * 128);
  EXPECT_EQ(rows.first_col, 0);
  EXPECT_EQ(rows.cols, 8960);
  const Region columns = RegionOf({spec, Division::kFfn, Axis::kColumns}, shape);
  EXPECT_EQ(columns.rows, 12 * 128);
  EXPECT_EQ(columns.first_col, 6720);
  EXPECT_EQ(columns.cols, 2240);
}

TEST(RegionOfTest, EndsWithTheTensor) {
  ModelConfig config = Shape(12, 2, 8960);
  config.vocab_size = 9;  // 3 rows on each of 4 ranks, of which the last has none
  const ModelPlan plan = MakePlan(config);
  const PlannedTensor head = plan.head.matrices.front();
  EXPECT_EQ(RegionOf(head, ShapeOfRank(plan, 2, 4)).rows, 3);
  EXPECT_EQ(RegionOf(head, ShapeOfRank(plan, 3, 4)).rows, 0);
  EXPECT_EQ(ShapeOfRank(plan, 3, 4).of(Division::kVocabulary).size(), 3);
  EXPECT_EQ(RegionOf(plan.embedding, ShapeOfRank(plan, 3, 4)).rows, 9);
}

TEST(StepExtentTest, IsTheWidestOfTheRanksWeights) {
  ModelConfig config = Shape(12, 2, 8960);
  config.num_layers = 2;
  const ModelPlan plan = MakePlan(config);
  const step::Limits limits = {.max_num_seqs = 3, .max_num_batched_tokens = 7};
  const kernels::StepExtent extent = StepExtentOf(plan, ShapeOfRank(plan, 1, 4), limits);
  EXPECT_EQ(extent.max_tokens, 7);
  EXPECT_EQ(extent.max_seqs, 3);
  EXPECT_EQ(extent.num_kv_heads, 1);
  EXPECT_EQ(extent.qkv_rows, (3 + 2) * 128);
  EXPECT_EQ(extent.ffn, 2240);
}

}  // namespace
}  // namespace thinkwire::worker::model
