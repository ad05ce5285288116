#include "worker/model/layers/kv_cache.h"

#include <gtest/gtest.h>

#include <string>

#include "worker/kernels/devices.h"

namespace thinkwire::worker::model {
namespace {

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

}  // namespace
}  // namespace thinkwire::worker::model
