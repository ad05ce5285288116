#include "worker/model/count_rank.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "tests/fakes/async_backend.h"
#include "tests/worker/model/model_files.h"
#include "worker/model/checkpoint/random_weights.h"
#include "worker/model/family_fit.h"
#include "worker/model/layers/rope.h"
#include "worker/model/rank.h"
#include "worker/model/step/result_queue.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::model {
namespace {

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
  // Of as many tokens as a step has, what goes into an expert, is gated and comes out.
  void ReserveParts(const kernels::PartsExtent& extent) override {
    if (extent.mix.per_token == 0) return;
    bytes_ += 4 * extent.mix.max_tokens * (extent.mix.hidden + extent.mix.ffn + extent.mix.hidden);
  }

 private:
  std::int64_t bytes_ = 0;
};

// A model whose matrices fill the CPU's panels on one rank and on two, without biases, which the
// CPU keeps elsewhere.
class CountRankTest : public testing::TestWithParam<const char*> {};

TEST_P(CountRankTest, CountsWhatARankTakes) {
  auto config = LoadModelConfig(ModelDir(GetParam()));
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

INSTANTIATE_TEST_SUITE_P(Models, CountRankTest, testing::Values("llama", "deepseek"));

// Q4_K's scales and mins lie there in eight bits for six, and d and dmin for each 128 columns; Q6_K
// has d for each 128 too.
TEST(CountUnitsTest, ComputeCapability9TakesMoreThanTheFile) {
  ModelPlan plan = MakePlan(Distills().front().config);
  SetMatrixEncoding(kernels::Encoding::kQ4K, plan);
  step::Limits limits = {.max_num_seqs = 4, .max_num_batched_tokens = 64, .max_model_len = 128};
  limits.block_tokens = 16;
  limits.vocab_size = static_cast<std::int32_t>(plan.config.vocab_size);
  const auto weights = [&](const char* name) {
    const kernels::Capabilities device = {
        .name = name, .kind = kernels::DeviceKind::kCuda, .activation = kernels::DType::kBf16};
    return CountRank(plan, ShapeOfRank(plan, 0, 1), limits, device).weights;
  };
  std::int64_t more = 0;
  ForEachMatrix(plan, [&more](PlannedTensor& matrix) {
    const std::int64_t blocks = matrix.spec.rows * matrix.spec.cols / 256;
    more += blocks * (matrix.spec.encoding == kernels::Encoding::kQ6K ? 2 : 8);
  });
  EXPECT_EQ(weights("cuda-sm90 H200") - weights("cuda-sm86 RTX 3090"), more);
  EXPECT_GT(more, 38'000'000);
}

// With its inputs rounded, each token of a step takes the widest input in FP8 and a scale more, and
// no matrix is made bf16.
TEST(CountRoundedTest, HoldsTheInputsOfFp8) {
  ModelPlan plan = MakePlan(Distills().front().config);
  SetMatrixEncoding(kernels::Encoding::kFp8, plan);
  const auto workspace = [&](const char* name, std::int32_t tokens) {
    step::Limits limits = {
        .max_num_seqs = 4, .max_num_batched_tokens = tokens, .max_model_len = 128};
    limits.block_tokens = 16;
    limits.vocab_size = static_cast<std::int32_t>(plan.config.vocab_size);
    const kernels::Capabilities device = {
        .name = name, .kind = kernels::DeviceKind::kCuda, .activation = kernels::DType::kBf16};
    return CountRank(plan, ShapeOfRank(plan, 0, 1), limits, device).workspace;
  };
  const auto more = [&](const char* name) { return workspace(name, 4160) - workspace(name, 64); };
  constexpr std::int64_t kPiece = 2 << 20;
  EXPECT_NEAR(more("cuda-sm90-fp8_inputs H200") - more("cuda-sm90 H200"),
              4096 * (plan.config.intermediate_size + 4), kPiece);
  EXPECT_LT(workspace("cuda-sm90-fp8_inputs H200", 64), workspace("cuda-sm90 H200", 64));
}

// A GPU's rank asks for its weights, its KV cache and its activations in one piece, which the count
// gives: each begins at a multiple of 512 bytes.
TEST(CountAheadTest, HoldsWeightsAndTheKvCache) {
  ModelPlan plan = MakePlan(Distills().front().config);
  SetMatrixEncoding(kernels::Encoding::kInt4, plan);
  step::Limits limits = {.max_num_seqs = 4, .max_num_batched_tokens = 64, .max_model_len = 128};
  limits.block_tokens = 16;
  limits.vocab_size = static_cast<std::int32_t>(plan.config.vocab_size);
  const kernels::Capabilities device = {.name = "cuda-sm90 H200",
                                        .kind = kernels::DeviceKind::kCuda,
                                        .activation = kernels::DType::kBf16};
  const RankShape shape = ShapeOfRank(plan, 0, 1);
  const RankMemory without = CountRank(plan, shape, limits, device);
  EXPECT_GT(without.ahead, without.weights);
  EXPECT_LT(without.ahead, without.weights + without.workspace);
  limits.num_blocks = 100;
  const RankMemory with = CountRank(plan, shape, limits, device);
  // 2 planes of 2 heads of 128 bf16 a layer, each 100 blocks of 8 KiB.
  EXPECT_EQ(with.ahead - without.ahead, 2 * plan.config.num_layers * 100 * 8192);
  EXPECT_EQ(with.weights, without.weights);
  plan.host_embedding = true;
  EXPECT_EQ(without.weights - CountRank(plan, shape, limits, device).weights,
            2 * plan.config.vocab_size * plan.config.hidden_size);
}

}  // namespace
}  // namespace thinkwire::worker::model
