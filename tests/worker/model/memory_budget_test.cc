#include "worker/model/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/numbers.h"
#include "worker/model/family_fit.h"

namespace thinkwire::worker::model {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;
constexpr std::int64_t kLeftOfSmallCard = 23'400'000'000;

// DeepSeek-R1-Distill-Qwen-7B: 14.2 GiB of bf16 weights; a token's keys and values take
// 28 layers * 2 * 4 heads * 128 * 2 bytes = 56 KiB.
ModelConfig Qwen7b() {
  ModelConfig config;
  config.hidden_size = 3584;
  config.num_layers = 28;
  config.num_heads = 28;
  config.num_kv_heads = 4;
  config.head_dim = 128;
  config.intermediate_size = 18944;
  config.vocab_size = 152064;
  return config;
}

step::Limits Limits() {
  step::Limits limits;
  limits.max_num_seqs = 64;
  limits.max_num_batched_tokens = 2048;
  limits.max_model_len = 32768;
  limits.block_tokens = 16;
  limits.vocab_size = 151665;
  return limits;
}

MemoryOffer Gpu(std::int64_t gib) {
  return {
      .device_bytes = gib * kGiB,
      .device = {
          .name = "cuda", .kind = kernels::DeviceKind::kCuda, .activation = kernels::DType::kBf16}};
}

MemoryOffer Host(std::int64_t gib) {
  MemoryOffer offer;
  offer.host_bytes = gib * kGiB;
  return offer;
}

std::string Refusal(const MemoryOffer& offer) {
  const auto blocks = ChooseBlocks(MakePlan(Qwen7b()), Limits(), offer);
  EXPECT_EQ(blocks.status().code(), absl::StatusCode::kInvalidArgument) << blocks.status();
  return std::string(blocks.status().message());
}

TEST(MemoryBudgetTest, TheCacheGetsWhatWeightsAndWorkspaceLeave) {
  const auto blocks = ChooseBlocks(MakePlan(Qwen7b()), Limits(), Gpu(80));
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  const std::int64_t tokens = std::int64_t{*blocks} * 16;
  // At most 72 - 14.2 GiB, and at least that without 3 GiB of workspace.
  EXPECT_LT(tokens * 56 * 1024, (72 * kGiB) - (14 * kGiB));
  EXPECT_GT(tokens * 56 * 1024, (72 * kGiB) - (18 * kGiB));
}

TEST(MemoryBudgetTest, RefusesAModelThatDoesNotFitWithTheNumbers) {
  const std::string message = Refusal(Gpu(16));
  EXPECT_THAT(message, HasSubstr("does not fit: of 16.0 GiB free on a device 14.4 GiB may be"));
  EXPECT_THAT(message, HasSubstr("weights take 14.2 GiB and workspace "));
  EXPECT_THAT(message, HasSubstr("raise tensor_parallel_size, or serve a smaller variant"));
}

TEST(MemoryBudgetTest, MoreDevicesShareTheWeights) {
  MemoryOffer offer = Gpu(16);
  offer.ranks = 2;
  EXPECT_TRUE(ChooseBlocks(MakePlan(Qwen7b()), Limits(), offer).ok());
}

TEST(MemoryBudgetTest, FewerSequencesTakeLessWorkspace) {
  step::Limits many = Limits();
  many.max_num_seqs = 512;
  const auto few = ChooseBlocks(MakePlan(Qwen7b()), Limits(), Gpu(24));
  const auto more = ChooseBlocks(MakePlan(Qwen7b()), many, Gpu(24));
  ASSERT_TRUE(few.ok() && more.ok());
  EXPECT_LT(*more, *few);
}

TEST(MemoryBudgetTest, AGivenCacheMustFit) {
  MemoryOffer offer = Gpu(80);
  offer.kv_cache_memory_bytes = 7 * kGiB;
  const auto blocks = ChooseBlocks(MakePlan(Qwen7b()), Limits(), offer);
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  EXPECT_EQ(*blocks, 7 * kGiB / (std::int64_t{56} * 1024 * 16));
  offer.kv_cache_memory_bytes = 70 * kGiB;
  EXPECT_THAT(Refusal(offer), HasSubstr("it asks for 70.0 GiB on a device, where "));
  offer.ranks = 2;  // 35 GiB on each
  EXPECT_TRUE(ChooseBlocks(MakePlan(Qwen7b()), Limits(), offer).ok());
}

// Hosts of a group of two ranks give each half of the cache, and half of the weights.
TEST(MemoryBudgetTest, RanksOnOtherHostsTakeNothingHere) {
  MemoryOffer together;
  together.host_bytes = 12 * kGiB;
  together.ranks = 2;
  EXPECT_FALSE(ChooseBlocks(MakePlan(Qwen7b()), Limits(), together).ok());
  MemoryOffer apart = together;
  apart.ranks_here = 1;
  apart.kv_cache_memory_bytes = std::int64_t{112} * 1024 * 16 * 10;  // float32
  const auto blocks = ChooseBlocks(MakePlan(Qwen7b()), Limits(), apart);
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  EXPECT_EQ(*blocks, 10);
}

// A sequence of max_model_len tokens takes 1.75 GiB.
TEST(NeedsHostEmbeddingTest, WhereOneSequenceDoesNotFitBesideIt) {
  const ModelPlan plan = MakePlan(Qwen7b());
  MemoryOffer offer = Gpu(80);
  offer.host_bytes = 64 * kGiB;
  EXPECT_FALSE(NeedsHostEmbedding(plan, Limits(), offer));
  offer = Gpu(18);
  offer.host_bytes = 64 * kGiB;
  EXPECT_TRUE(NeedsHostEmbedding(plan, Limits(), offer));
  offer.host_bytes = kGiB;
  EXPECT_FALSE(NeedsHostEmbedding(plan, Limits(), offer)) << "2 * 152064 * 3584 bytes";
  offer.host_bytes = 2 * kGiB;
  EXPECT_TRUE(NeedsHostEmbedding(plan, Limits(), offer));
  offer.kv_cache_memory_bytes = kGiB / 4;
  EXPECT_FALSE(NeedsHostEmbedding(plan, Limits(), offer)) << "no more was asked for";
}

TEST(NeedsHostEmbeddingTest, TheCacheGetsItsPlace) {
  ModelPlan plan = MakePlan(Qwen7b());
  const MemoryOffer offer = Gpu(20);
  const auto beside = ChooseBlocks(plan, Limits(), offer);
  plan.host_embedding = true;
  const auto without = ChooseBlocks(plan, Limits(), offer);
  ASSERT_TRUE(beside.ok() && without.ok());
  EXPECT_NEAR(*without - *beside, EmbeddingBytes(plan) / (std::int64_t{56} * 1024 * 16), 1);
}

TEST(NeedsHostEmbeddingTest, ACpuHasNoOtherMemory) {
  EXPECT_FALSE(NeedsHostEmbedding(MakePlan(Qwen7b()), Limits(), Host(64)));
}

// DeepSeek-R1-Distill-Qwen-32B for one user on a card of 24 GB, of which CUDA itself leaves so
// much.
struct SmallCard {
  kernels::Encoding encoding;
  bool fp8_kv_cache;
};

class SmallCardTest : public testing::TestWithParam<SmallCard> {};

TEST_P(SmallCardTest, HoldsSixteenThousandTokens) {
  ModelPlan plan = MakePlan(Distills()[4].config);
  SetMatrixEncoding(GetParam().encoding, plan);
  plan.kv_cache.is_fp8 = GetParam().fp8_kv_cache;
  step::Limits limits = Limits();
  limits.max_num_seqs = 16;
  limits.max_num_batched_tokens = 512;
  MemoryOffer offer = Gpu(0);
  offer.device.name = "cuda-sm90 fake";
  offer.device_bytes = kLeftOfSmallCard;
  offer.host_bytes = 64 * kGiB;
  offer.utilization = 1;
  ASSERT_TRUE(NeedsHostEmbedding(plan, limits, offer));
  plan.host_embedding = true;
  const auto blocks = ChooseBlocks(plan, limits, offer);
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  EXPECT_GE(*blocks * limits.block_tokens, 16384);
}

INSTANTIATE_TEST_SUITE_P(Formats, SmallCardTest,
                         testing::Values(SmallCard{kernels::Encoding::kInt4, false},
                                         SmallCard{kernels::Encoding::kQ4K, true}));

TEST(MemoryBudgetTest, TheHostGivesWhatIsAskedFor) {
  MemoryOffer offer = Host(32);
  offer.kv_cache_memory_bytes = std::int64_t{112} * 1024 * 16 * 10;  // float32: twice as much
  const auto blocks = ChooseBlocks(MakePlan(Qwen7b()), Limits(), offer);
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  EXPECT_EQ(*blocks, 10);
}

TEST(MemoryBudgetTest, TheHostGivesNoMoreThanItHas) {
  MemoryOffer offer = Host(20);
  EXPECT_TRUE(ChooseBlocks(MakePlan(Qwen7b()), Limits(), offer).ok());
  offer.kv_cache_memory_bytes = 6 * kGiB;
  EXPECT_THAT(Refusal(offer),
              HasSubstr("kv_cache_memory_bytes does not fit: it asks for 6.0 GiB on this machine"));
  EXPECT_THAT(Refusal(offer), HasSubstr("of 20.0 GiB that this machine has left weights take 14"));
}

TEST(MemoryBudgetTest, AModelMustFitIntoTheHostToo) {
  EXPECT_THAT(Refusal(Host(8)), HasSubstr("the model does not fit: of 8.0 GiB that this machine"));
  MemoryOffer cache = Host(8);
  cache.kv_cache_memory_bytes = kGiB;
  EXPECT_THAT(Refusal(cache), HasSubstr("or serve a smaller variant"));
}

TEST(MemoryBudgetTest, WhatIsMissingIsSaidToTheByte) {
  MemoryOffer offer = Host(8);
  offer.kv_cache_memory_bytes = std::int64_t{112} * 1024 * 16;  // one block
  const std::string message = Refusal(offer);
  std::int64_t missing = 0;
  const std::size_t end = message.find(" bytes are missing");
  ASSERT_NE(end, std::string::npos) << message;
  const std::size_t begin = message.rfind(' ', end - 1) + 1;
  ASSERT_TRUE(absl::SimpleAtoi(message.substr(begin, end - begin), &missing)) << message;
  offer.host_bytes += missing - 1;
  EXPECT_THAT(Refusal(offer), HasSubstr("; 1 bytes are missing"));
  ++offer.host_bytes;
  EXPECT_TRUE(ChooseBlocks(MakePlan(Qwen7b()), Limits(), offer).ok());
}

TEST(MemoryBudgetTest, LongContextsAreCountedBeforeTheyAreAllocated) {
  step::Limits limits = Limits();
  limits.max_model_len = 1 << 20;
  ModelConfig config = Qwen7b();
  config.head_dim = 1 << 10;
  const auto blocks = ChooseBlocks(MakePlan(config), limits, Host(3));
  EXPECT_THAT(std::string(blocks.status().message()),
              HasSubstr("the positions' rotations take 4.0 GiB; lower max_model_len"));
}

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

}  // namespace
}  // namespace thinkwire::worker::model
