#include "worker/model/layers/moe_ffn.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/unpack_row.h"

namespace thinkwire::worker::model {
namespace {

using kernels::DType;
using kernels::Encoding;
using kernels::LinearLayout;
using kernels::MakeTensor;
using kernels::WeightSlice;
using Floats = std::vector<float>;

constexpr kernels::RoutingRule kRule = {
    .num_experts = 16, .num_groups = 4, .kept_groups = 2, .per_token = 4, .factor = 2.5F};

WeightSlice SliceOf(const float* data, std::int64_t rows, std::int64_t cols) {
  return {.data = data, .encoding = Encoding::kF32, .rows = rows, .cols = cols, .row_stride = cols};
}

SwiGluWeights MakeShared(kernels::Backend& backend, const kernels::ExpertSlices& slices) {
  const WeightSlice both[] = {slices.gate, slices.up};
  return {backend.MakeLinear(both, {}, LinearLayout::kGateUp),
          backend.MakeLinear({&slices.down, 1}, {}, LinearLayout::kPlain)};
}

kernels::Buffer BiasOf(kernels::Backend& backend, const Floats& values) {
  kernels::Buffer bias = backend.Allocate(values.size() * sizeof(float));
  backend.CopyToDevice(bias.data(), values.data(), bias.bytes());
  return bias;
}

// What the part makes of x's rows [first, first + count), x [any, width].
Floats ResultOf(MoeFfn& ffn, Floats& x, std::int64_t width, std::int64_t first,
                std::int64_t count) {
  Floats y(static_cast<std::size_t>(count * width), 7.0F);
  ffn.Run(MakeTensor(x.data() + first * width, DType::kF32, count, width), {}, {},
          MakeTensor(y.data(), DType::kF32, count, width));
  return y;
}

Floats Random(std::size_t n, unsigned seed) {
  std::mt19937 bits(seed);
  Floats values(n);
  for (float& value : values) value = static_cast<float>(bits() >> 8) * 0x1p-23F - 1.0F;
  return values;
}

// transformers' DeepseekV3MoE (tests/data/scripts/make_moe_golden.py).
class MoeGoldenTest : public testing::Test {
 protected:
  MoeGoldenTest() : golden_(nlohmann::json::parse(std::ifstream("tests/data/moe_golden.json"))) {}

  Floats Of(const std::string& name) const { return golden_.at(name).get<Floats>(); }

  MoeWeights Weights() {
    const Floats gate = Of("gate");
    const Floats gate_up = Of("gate_up");
    const Floats down = Of("down");
    const WeightSlice router = SliceOf(gate.data(), kRule.num_experts, width_);
    MoeWeights weights;
    weights.gate = backend_.MakeLinear({&router, 1}, {}, LinearLayout::kPlain);
    weights.correction_bias = BiasOf(backend_, Of("correction_bias"));
    weights.experts.push_back(
        backend_.MakeExperts({.count = kRule.num_experts, .hidden = width_, .ffn = ffn_}));
    const std::int64_t size = ffn_ * width_;
    for (std::int64_t e = 0; e < kRule.num_experts; ++e) {
      const float* const both = gate_up.data() + 2 * e * size;
      weights.experts[0]->Set(e, {SliceOf(both, ffn_, width_), SliceOf(both + size, ffn_, width_),
                                  SliceOf(down.data() + e * size, width_, ffn_)});
    }
    const Floats shared_gate = Of("shared_gate");
    const Floats shared_up = Of("shared_up");
    const Floats shared_down = Of("shared_down");
    weights.shared.push_back(MakeShared(backend_, {SliceOf(shared_gate.data(), 2 * ffn_, width_),
                                                   SliceOf(shared_up.data(), 2 * ffn_, width_),
                                                   SliceOf(shared_down.data(), width_, 2 * ffn_)}));
    return weights;
  }

  const nlohmann::json golden_;
  const std::int64_t width_ = golden_.at("hidden_size").get<std::int64_t>();
  const std::int64_t ffn_ = golden_.at("moe_intermediate_size").get<std::int64_t>();
  kernels::CpuBackend backend_{2};
  Scratch scratch_{128, backend_};
};

TEST_F(MoeGoldenTest, ChoosesAndWeighsAsTransformersDoes) {
  Floats x = Of("x");
  const auto tokens = static_cast<std::int64_t>(x.size()) / width_;
  const MoeWeights weights = Weights();
  Floats logits(static_cast<std::size_t>(tokens * kRule.num_experts));
  backend_.Linear(MakeTensor(x.data(), DType::kF32, tokens, width_), *weights.gate,
                  MakeTensor(logits.data(), DType::kF32, tokens, kRule.num_experts));
  kernels::ExpertRouter router(kRule, Of("correction_bias"));
  std::vector<kernels::ChosenExpert> chosen(static_cast<std::size_t>(kRule.per_token));
  const auto ids = golden_.at("ids").get<std::vector<int>>();
  const Floats expected = Of("weights");
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const std::size_t at = i % chosen.size();
    if (at == 0) router.Choose(logits.data() + i / chosen.size() * 16, chosen);
    EXPECT_EQ(chosen[at].id, ids[i]) << "of token " << i / chosen.size();
    EXPECT_NEAR(chosen[at].weight, expected[i], 1e-6F);
  }
}

TEST_F(MoeGoldenTest, AddsUpToWhatTransformersGives) {
  MoeFfn ffn(kRule, Weights(), scratch_, backend_);
  Floats x = Of("x");
  const Floats y = ResultOf(ffn, x, width_, 0, static_cast<std::int64_t>(x.size()) / width_);
  const Floats expected = Of("y");
  ASSERT_EQ(y.size(), expected.size());
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], expected[i], 1e-4F) << i;
}

TEST_F(MoeGoldenTest, LeavesOutASharedExpertThatIsNotThere) {
  MoeWeights weights = Weights();
  weights.shared.clear();
  MoeFfn without(kRule, std::move(weights), scratch_, backend_);
  MoeFfn with(kRule, Weights(), scratch_, backend_);
  Floats x = Of("x");
  EXPECT_NE(ResultOf(without, x, width_, 0, 4), ResultOf(with, x, width_, 0, 4));
  EXPECT_GT(with.bytes(), without.bytes());
}

TEST_F(MoeGoldenTest, GivesATokenTheSameBitsInEveryBatch) {
  MoeFfn ffn(kRule, Weights(), scratch_, backend_);
  Floats x = Random(static_cast<std::size_t>(128 * width_), 1);
  const Floats all = ResultOf(ffn, x, width_, 0, 128);
  for (const std::int64_t rows : {1, 2, 3, 7, 16, 64, 97}) {
    for (std::int64_t first = 0; first + rows <= 128; first += rows) {
      const Floats part = ResultOf(ffn, x, width_, first, rows);
      EXPECT_EQ(0,
                std::memcmp(part.data(), all.data() + first * width_, part.size() * sizeof(float)))
          << rows << " rows from " << first;
    }
  }
}

// Square matrices of kSide columns in FP8, and the same ones in float.
constexpr std::int64_t kSide = 128;

struct Fp8Matrix {
  explicit Fp8Matrix(unsigned seed) : values(kSide * kSide) {
    std::mt19937 bits(seed);
    const float scale = 0x1p-4F;
    for (std::int64_t row = 0; row < kSide; ++row) {
      // Codes below 2 in magnitude, of either sign.
      for (int i = 0; i < kSide; ++i) packed.push_back(static_cast<std::uint8_t>(bits() & 0xBFU));
      packed.resize(packed.size() + sizeof(scale));
      std::memcpy(&packed[packed.size() - sizeof(scale)], &scale, sizeof(scale));
      kernels::UnpackRow(Encoding::kFp8, Packed().row(row), kSide, values.data() + row * kSide);
    }
  }
  WeightSlice Packed() const {
    WeightSlice slice = Values();
    slice.data = packed.data();
    slice.encoding = Encoding::kFp8;
    return slice;
  }
  WeightSlice Values() const { return SliceOf(values.data(), kSide, kSide); }

  std::vector<std::uint8_t> packed;
  Floats values;
};

using View = WeightSlice (Fp8Matrix::*)() const;

MoeWeights SquareWeights(kernels::Backend& backend, View view) {
  const Floats gate = Random(static_cast<std::size_t>(kRule.num_experts * kSide), 2);
  const WeightSlice router = SliceOf(gate.data(), kRule.num_experts, kSide);
  MoeWeights weights;
  weights.gate = backend.MakeLinear({&router, 1}, {}, LinearLayout::kPlain);
  weights.correction_bias = BiasOf(backend, Floats(static_cast<std::size_t>(kRule.num_experts)));
  weights.experts.push_back(backend.MakeExperts(
      {.count = kRule.num_experts, .hidden = kSide, .ffn = kSide, .encoding = Encoding::kFp8}));
  for (unsigned e = 0; e < 17; ++e) {
    const Fp8Matrix matrices[] = {Fp8Matrix(3 * e), Fp8Matrix(3 * e + 1), Fp8Matrix(3 * e + 2)};
    const kernels::ExpertSlices slices = {(matrices[0].*view)(), (matrices[1].*view)(),
                                          (matrices[2].*view)()};
    if (e < 16) weights.experts[0]->Set(e, slices);
    if (e == 16) weights.shared.push_back(MakeShared(backend, slices));
  }
  return weights;
}

TEST(MoeFfnTest, GivesOfFp8ExpertsTheBitsOfTheirValues) {
  kernels::CpuBackend backend(2);
  Scratch scratch(128, backend);
  MoeFfn packed(kRule, SquareWeights(backend, &Fp8Matrix::Packed), scratch, backend);
  MoeFfn dense(kRule, SquareWeights(backend, &Fp8Matrix::Values), scratch, backend);
  Floats x = Random(128 * kSide, 5);
  for (const std::int64_t rows : {1, 2, 40, 128}) {
    EXPECT_EQ(ResultOf(packed, x, kSide, 0, rows), ResultOf(dense, x, kSide, 0, rows))
        << rows << " rows";
  }
  EXPECT_LT(packed.bytes(), dense.bytes());
}

}  // namespace
}  // namespace thinkwire::worker::model
