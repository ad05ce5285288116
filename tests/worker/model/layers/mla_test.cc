#include "worker/model/layers/mla.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rope.h"

namespace thinkwire::worker::model {
namespace {

using kernels::DType;
using kernels::MakeTensor;
using Floats = std::vector<float>;

constexpr std::int32_t kBlockTokens = 16;
constexpr std::int32_t kNumBlocks = 8;

// Tensors of f32, by the names that the first layer's attention has in a checkpoint.
class GoldenWeights final : public WeightSource {
 public:
  explicit GoldenWeights(const nlohmann::json& weights) {
    for (const auto& [name, values] : weights.items()) {
      tensors_["model.layers.0.self_attn." + name] = values.get<Floats>();
    }
  }

  HostSlice Slice(const TensorSpec& spec, const Region& region) const override {
    CheckRegion(spec, region, kernels::Encoding::kF32);
    const Floats& tensor = tensors_.at(spec.name);
    EXPECT_EQ(static_cast<std::int64_t>(tensor.size()), spec.rows * spec.cols) << spec.name;
    HostSlice host;
    host.slice = {.data = tensor.data() + region.first_row * spec.cols + region.first_col,
                  .encoding = kernels::Encoding::kF32,
                  .rows = region.rows,
                  .cols = region.cols,
                  .row_stride = spec.cols};
    return host;
  }
  std::uint64_t identity() const override { return 0; }
  std::string stored_as() const override { return "F32"; }

 private:
  std::map<std::string, Floats> tensors_;
};

// One sequence's tokens of a step.
struct Chunk {
  std::int32_t first = 0;
  std::int32_t count = 0;
};

// transformers' DeepseekV3Attention (tests/data/scripts/make_mla_golden.py), of which a rank has
// its share.
class GoldenMla {
 public:
  explicit GoldenMla(const nlohmann::json& golden, std::int32_t rank = 0, std::int32_t ranks = 1)
      : weights_(golden.at("weights")), x_(golden.at("x").get<Floats>()) {
    const auto config = ParseModelConfig(golden.at("config").dump(), "config.json");
    EXPECT_TRUE(config.ok()) << config.status();
    plan_ = MakePlan(*config);
    shape_ = ShapeOfRank(plan_, rank, ranks);
    rope_ = RopeTable(*config, 64);
    const LoadPlace load = {shape_, weights_, backend_};
    mla_ = std::make_unique<Mla>(
        *config->mla, plan_.layers[0][0],
        PartPlace{load, MakeTensor(rope_.data(), DType::kF32, 64, config->head_dim), scratch_});
    kv_ = std::make_unique<KvCache>(KvLayoutOf(plan_, shape_, kBlockTokens, DType::kF32),
                                    kNumBlocks, backend_);
    for (std::int32_t i = 0; i < kNumBlocks; ++i) blocks_.push_back(kNumBlocks - 1 - i);
  }

  std::int64_t width() const { return plan_.config.hidden_size; }
  std::int32_t num_tokens() const { return static_cast<std::int32_t>(std::ssize(x_) / width()); }
  const Mla& mla() const { return *mla_; }
  const KvCache& kv() const { return *kv_; }

  // What the part makes of the chunk's tokens, [count, E]; `padding` more are in the step.
  Floats Run(const Chunk& chunk, std::int32_t padding = 0) {
    const std::int32_t tokens = chunk.count + padding;
    std::vector<std::int32_t> positions(static_cast<std::size_t>(tokens));
    std::vector<std::int32_t> sequences(static_cast<std::size_t>(tokens), -1);
    for (std::int32_t t = 0; t < chunk.count; ++t) {
      positions[static_cast<std::size_t>(t)] = chunk.first + t;
      sequences[static_cast<std::size_t>(t)] = 0;
    }
    const std::int32_t starts[] = {0, chunk.count};
    const std::int32_t slot = 0;
    const kernels::BatchView batch = {.num_tokens = tokens,
                                      .num_seqs = 1,
                                      .max_blocks = kNumBlocks,
                                      .positions = positions.data(),
                                      .token_seq = sequences.data(),
                                      .query_start = starts,
                                      .seq_slot = &slot,
                                      .block_tables = blocks_.data()};
    Floats x(static_cast<std::size_t>(tokens * width()), 7.0F);
    std::copy_n(x_.begin() + chunk.first * width(), chunk.count * width(), x.begin());
    Floats y(x.size());
    mla_->Run(MakeTensor(x.data(), DType::kF32, tokens, width()), batch, kv_->layer(0),
              MakeTensor(y.data(), DType::kF32, tokens, width()));
    y.resize(static_cast<std::size_t>(chunk.count * width()));
    return y;
  }

  // All tokens, so many a step.
  Floats RunAll(std::int32_t count, std::int32_t padding = 0) {
    Floats all;
    for (std::int32_t first = 0; first < num_tokens(); first += count) {
      const Floats y = Run({first, std::min(count, num_tokens() - first)}, padding);
      all.insert(all.end(), y.begin(), y.end());
    }
    return all;
  }

 private:
  const GoldenWeights weights_;
  const Floats x_;
  ModelPlan plan_;
  RankShape shape_;
  Floats rope_;
  kernels::CpuBackend backend_{2};
  Scratch scratch_{64, backend_};
  std::unique_ptr<Mla> mla_;
  std::unique_ptr<KvCache> kv_;
  std::vector<std::int32_t> blocks_;
};

class MlaTest : public testing::TestWithParam<const char*> {
 protected:
  MlaTest()
      : golden_(nlohmann::json::parse(std::ifstream("tests/data/mla_golden.json")).at(GetParam())) {
  }
  const nlohmann::json golden_;
};

TEST_P(MlaTest, GivesWhatTransformersGives) {
  GoldenMla golden(golden_);
  const Floats y = golden.RunAll(64);
  const auto expected = golden_.at("y").get<Floats>();
  ASSERT_EQ(y.size(), expected.size());
  for (std::size_t i = 0; i < y.size(); ++i) ASSERT_NEAR(y[i], expected[i], 2e-5F) << i;
}

TEST_P(MlaTest, GivesATokenTheSameBitsInEveryChunk) {
  const Floats whole = GoldenMla(golden_).RunAll(64);
  for (const std::int32_t count : {1, 2, 7, 16, 33}) {
    EXPECT_EQ(GoldenMla(golden_).RunAll(count), whole) << count << " tokens a step";
  }
  EXPECT_EQ(GoldenMla(golden_).RunAll(5, 3), whole) << "with padding";
}

TEST_P(MlaTest, RanksAddUpToTheWhole) {
  const Floats whole = GoldenMla(golden_).RunAll(64);
  for (const std::int32_t ranks : {2, 4}) {
    Floats sum(whole.size());
    for (std::int32_t rank = 0; rank < ranks; ++rank) {
      GoldenMla part(golden_, rank, ranks);
      const Floats y = part.RunAll(64);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += y[i];
    }
    for (std::size_t i = 0; i < sum.size(); ++i) ASSERT_NEAR(sum[i], whole[i], 1e-5F) << i;
    EXPECT_EQ(sum == whole, ranks == 2) << "one rank sums as two do";
  }
}

TEST_P(MlaTest, KeepsOnePlaneThatEveryRankHasWhole) {
  for (const std::int32_t ranks : {1, 2, 4}) {
    const GoldenMla golden(golden_, ranks - 1, ranks);
    const kernels::KvLayer& layer = golden.kv().layer(0);
    EXPECT_EQ(layer.planes[0].dim(1), kBlockTokens * (24 + 8)) << ranks << " ranks";
    EXPECT_EQ(layer.planes[1].data, nullptr);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, MlaTest, testing::Values("with_latents", "without"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace thinkwire::worker::model
