#include "worker/model/layers/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "worker/kernels/devices.h"

namespace thinkwire::worker::model {
namespace {

KvCacheDemand Demand() {
  KvCacheDemand demand;
  demand.block_bytes = 1000;
  demand.available_bytes = 1'000'000'000;
  demand.block_tokens = 16;
  demand.max_num_seqs = 4;
  demand.max_model_len = 8192;
  return demand;
}

TEST(ChooseNumBlocksTest, DefaultHoldsFourThousandTokensASlot) {
  EXPECT_EQ(*ChooseNumBlocks(Demand()), 4 * 4096 / 16);
}

TEST(ChooseNumBlocksTest, DefaultTakesNoMoreThanTheLongestSequences) {
  KvCacheDemand demand = Demand();
  demand.max_model_len = 100;
  EXPECT_EQ(*ChooseNumBlocks(demand), 4 * 7);
}

TEST(ChooseNumBlocksTest, DefaultLeavesHalfOfTheMemory) {
  KvCacheDemand demand = Demand();
  demand.available_bytes = 100'000;
  EXPECT_EQ(*ChooseNumBlocks(demand), 50);
}

TEST(ChooseNumBlocksTest, GivenMemoryCountsWhateverIsAvailable) {
  KvCacheDemand demand = Demand();
  demand.available_bytes = 0;
  demand.memory_bytes = 2'000'999;
  EXPECT_EQ(*ChooseNumBlocks(demand), 2000);
  demand.memory_bytes = 1'000'000'000'000;
  EXPECT_EQ(*ChooseNumBlocks(demand), 4 * 8192 / 16);
}

TEST(ChooseNumBlocksTest, RefusesLessThanABlock) {
  KvCacheDemand demand = Demand();
  demand.memory_bytes = 999;
  EXPECT_THAT(std::string(ChooseNumBlocks(demand).status().message()),
              testing::HasSubstr("needs 1000 bytes"));
}

TEST(KvLayoutTest, CountsEveryLayerAndPlane) {
  ModelConfig config;
  config.num_layers = 28;
  config.num_heads = 12;
  config.num_kv_heads = 2;
  config.head_dim = 128;
  config.intermediate_size = 8960;
  const ModelPlan plan = MakePlan(config);
  const KvLayout whole = KvLayoutOf(plan, ShapeOfRank(plan, 0, 1), 16, kernels::DType::kBf16);
  EXPECT_EQ(whole.block_bytes(), 28672 * 16);
  const KvLayout replicated = KvLayoutOf(plan, ShapeOfRank(plan, 3, 4), 16, kernels::DType::kBf16);
  EXPECT_EQ(replicated.block_bytes(), 28672 / 2 * 16);
}

TEST(KvCacheTest, APlaneIsAsWideAsItsLayoutSays) {
  std::string error;
  const auto backends = kernels::OpenDevices({"cpu", 1, 1}, &error);
  ASSERT_EQ(backends.size(), 1U) << error;
  KvLayout layout;
  layout.layers = {{{576, kernels::DType::kF32}},
                   {{64, kernels::DType::kF32}, {32, kernels::DType::kBf16}}};
  layout.block_tokens = 16;
  EXPECT_EQ(layout.block_bytes(), 16 * (576 * 4 + 64 * 4 + 32 * 2));
  const KvCache cache(layout, 5, *backends[0]);
  EXPECT_EQ(cache.layer(0).planes[0].dim(0), 5);
  EXPECT_EQ(cache.layer(0).planes[0].dim(1), 576 * 16);
  EXPECT_EQ(cache.layer(0).planes[1].data, nullptr);
  EXPECT_EQ(cache.layer(1).planes[0].dim(1), 64 * 16);
  EXPECT_EQ(cache.layer(1).planes[1].dim(1), 32 * 16);
  EXPECT_EQ(cache.layer(1).planes[1].dtype, kernels::DType::kBf16);
}

TEST(AvailableHostMemoryTest, IsPositive) { EXPECT_GT(AvailableHostMemory(), 0); }

}  // namespace
}  // namespace thinkwire::worker::model
