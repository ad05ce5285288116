#include "worker/model/memory_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/fakes/async_backend.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/checkpoint/random_weights.h"
#include "worker/model/layers/rope.h"
#include "worker/model/rank.h"
#include "worker/model/step/result_queue.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::model {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

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

TEST(MemoryBudgetTest, TheHostGivesWhatIsAskedFor) {
  MemoryOffer offer;
  offer.kv_cache_memory_bytes = std::int64_t{112} * 1024 * 16 * 10;  // float32: twice as much
  const auto blocks = ChooseBlocks(MakePlan(Qwen7b()), Limits(), offer);
  ASSERT_TRUE(blocks.ok()) << blocks.status();
  EXPECT_EQ(*blocks, 10);
}

// A CPU device that adds up what is allocated on it, weights apart.
class AddingBackend final : public kernels::AsyncBackend {
 public:
  AddingBackend() : AsyncBackend(1, false) {}

  std::int64_t bytes() const { return bytes_; }

  kernels::Buffer Allocate(std::size_t bytes) override {
    bytes_ += static_cast<std::int64_t>(bytes);
    return AsyncBackend::Allocate(bytes);
  }
  kernels::Buffer AllocateHost(std::size_t bytes) override {
    bytes_ += static_cast<std::int64_t>(bytes);
    return AsyncBackend::AllocateHost(bytes);
  }

 private:
  std::int64_t bytes_ = 0;
};

// A model whose matrices fill the CPU's panels on one rank and on two, without biases, which the
// CPU keeps elsewhere.
TEST(MemoryBudgetTest, CountsWhatARankTakes) {
  auto config = LoadModelConfig(ModelDir("llama"));
  ASSERT_TRUE(config.ok()) << config.status();
  config->intermediate_size = 128;
  const ModelPlan plan = MakePlan(*config);
  step::Limits limits = {.max_num_seqs = 4,
                         .max_num_batched_tokens = 64,
                         .max_model_len = 128,
                         .block_tokens = 16,
                         .max_in_flight = 2};
  limits.vocab_size = static_cast<std::int32_t>(config->vocab_size);
  for (const std::int32_t ranks : {1, 2}) {
    const RankShape shape = ShapeOfRank(plan, 0, ranks);
    AddingBackend backend;
    parallel::SoloCommunicator communicator(backend);
    const Rank rank(plan, shape, limits, RandomWeights(0),
                    RopeTable(plan.config, limits.max_model_len), backend, communicator);
    const ResultQueue results(limits, backend);
    const RankMemory counted = CountRank(plan, shape, limits, backend.capabilities());
    EXPECT_EQ(counted.weights, rank.model().bytes());
    EXPECT_EQ(counted.workspace, backend.bytes());
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
