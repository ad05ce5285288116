#include "worker/model/checkpoint/random_weights.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <span>

#include "worker/kernels/unpack_row.h"

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
  const auto* elements = static_cast<const std::uint16_t*>(slice.slice.data);
  for (const std::uint16_t v : std::span(elements, 20000)) {
    sum += ToFloat(v);
    squares += std::pow(ToFloat(v), 2);
  }
  EXPECT_NEAR(sum / 20000, 0, 0.005);
  EXPECT_NEAR(squares / 20000, 0.01, 0.0005);
}

TEST(RandomWeightsTest, APartOfAPackedMatrixIsThePartOfTheWhole) {
  const RandomWeights weights(9);
  const TensorSpec spec = {"model.layers.0.mlp.down_proj.weight", 6, 512, false,
                           kernels::Encoding::kInt4};
  const HostSlice all = weights.Slice(spec, {0, 6, 0, 512});
  const HostSlice part = weights.Slice(spec, {2, 3, 128, 256});
  EXPECT_EQ(all.slice.encoding, kernels::Encoding::kInt4);
  EXPECT_EQ(all.owned.size(), std::size_t{6} * 4 * kernels::kInt4PackedBytes);
  for (std::int64_t r = 0; r < 3; ++r) {
    EXPECT_EQ(0, std::memcmp(part.slice.row(r), all.slice.row(r + 2) + kernels::kInt4PackedBytes,
                             2 * kernels::kInt4PackedBytes));
  }
}

TEST(RandomWeightsTest, PackedMatricesKeepVariance) {
  const TensorSpec spec = {"model.layers.0.mlp.up_proj.weight", 200, 128, false,
                           kernels::Encoding::kInt4};
  const HostSlice slice = RandomWeights(0).Slice(spec, {0, 200, 0, 128});
  double sum = 0;
  double squares = 0;
  for (std::int64_t r = 0; r < 200; ++r) {
    for (int c = 0; c < 128; ++c) {
      const double weight = kernels::Int4Block(slice.slice.row(r), 0).weight(c);
      sum += weight;
      squares += weight * weight;
    }
  }
  EXPECT_NEAR(sum / 25600, 0, 0.005);
  EXPECT_NEAR(squares / 25600 * 128, 1.1, 0.1);
}

TEST(RandomWeightsTest, GgufsBlocksKeepVarianceAndPlace) {
  for (const auto encoding :
       {kernels::Encoding::kQ8_0, kernels::Encoding::kQ4K, kernels::Encoding::kQ6K}) {
    const TensorSpec spec = {"model.layers.0.mlp.up_proj.weight", 200, 1024, false, encoding};
    const HostSlice all = RandomWeights(0).Slice(spec, {0, 200, 0, 1024});
    EXPECT_EQ(all.slice.encoding, encoding);
    std::vector<float> row(1024);
    double sum = 0;
    double squares = 0;
    for (std::int64_t r = 0; r < 200; ++r) {
      kernels::UnpackRow(encoding, all.slice.row(r), 1024, row.data());
      for (const float weight : row) {
        sum += weight;
        squares += weight * weight;
      }
    }
    EXPECT_NEAR(sum / 204800, 0, 0.001) << NameOf(encoding);
    EXPECT_NEAR(squares / 204800 * 1024, 1.0, 0.1) << NameOf(encoding);
    const HostSlice part = RandomWeights(0).Slice(spec, {7, 2, 256, 512});
    const std::int64_t at = kernels::BytesOf(encoding, 256);
    EXPECT_EQ(0, std::memcmp(part.slice.row(1), all.slice.row(8) + at,
                             static_cast<std::size_t>(kernels::BytesOf(encoding, 512))));
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
