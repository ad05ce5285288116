#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/unpack_row.h"

// The ops of a mixture of experts.
namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kExperts = 24;
constexpr std::int64_t kHidden = 256;
constexpr std::int64_t kFfn = 128;
constexpr std::int64_t kPerToken = 4;
constexpr int kMostTokens = 2049;  // one more than a GPU mixes at a time

struct Sizes {
  std::int64_t experts = kExperts;
  std::int64_t hidden = kHidden;
  std::int64_t ffn = kFfn;
  std::int64_t per_token = kPerToken;
};

// A matrix of FP8, or the values that it stands for.
struct Matrix {
  Matrix(std::int64_t rows, std::int64_t cols, std::uint32_t seed, bool is_packed)
      : rows(rows), cols(cols), is_packed(is_packed) {
    std::uint32_t state = seed * 2654435761U + 1;
    values.resize(static_cast<std::size_t>(rows * cols));
    if (cols % 128 != 0) {
      values = RandomBf16Floats(rows * cols, seed + 11, 0.3F);
      return;
    }
    for (std::int64_t block = 0; block < rows * cols / 128; ++block) {
      for (int i = 0; i < 128; ++i) {
        state = state * 1664525U + 1013904223U;
        packed.push_back(static_cast<std::uint8_t>(state >> 24 & 0xBFU));
      }
      const float scale = 0.05F + 0.01F * static_cast<float>(block % 7);
      packed.resize(packed.size() + sizeof(scale));
      std::memcpy(&packed[packed.size() - sizeof(scale)], &scale, sizeof(scale));
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      UnpackRow(Encoding::kFp8, Slice(true).row(r), cols, values.data() + r * cols);
    }
  }
  WeightSlice Slice(bool as_packed) const {
    WeightSlice slice = {.data = values.data(),
                         .encoding = Encoding::kF32,
                         .rows = rows,
                         .cols = cols,
                         .row_stride = cols};
    if (!as_packed) return slice;
    slice.data = packed.data();
    slice.encoding = Encoding::kFp8;
    return slice;
  }
  WeightSlice Slice() const { return Slice(is_packed); }

  std::int64_t rows;
  std::int64_t cols;
  bool is_packed;
  std::vector<std::uint8_t> packed;
  std::vector<float> values;
};

// Experts [first, first + count).
std::unique_ptr<ExpertWeights> MakeSome(Backend& backend, std::int64_t first, std::int64_t count,
                                        bool is_packed, const Sizes& sizes = {}) {
  auto experts = backend.MakeExperts({.first = first,
                                      .count = count,
                                      .hidden = sizes.hidden,
                                      .ffn = sizes.ffn,
                                      .encoding = is_packed ? Encoding::kFp8 : Encoding::kBf16});
  for (std::int64_t i = 0; i < count; ++i) {
    const auto seed = static_cast<std::uint32_t>(3 * (first + i));
    const Matrix gate(sizes.ffn, sizes.hidden, seed, is_packed);
    const Matrix up(sizes.ffn, sizes.hidden, seed + 1, is_packed);
    const Matrix down(sizes.hidden, sizes.ffn, seed + 2, is_packed);
    experts->Set(i, {gate.Slice(), up.Slice(), down.Slice()});
  }
  return experts;
}

// What tokens choose, on the host.
struct Choice {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

// Of the default sizes some experts are chosen by most tokens, some by few, the last by none; of
// others each token has experts that stand at equal distances.
Choice MakeChoice(int tokens, const Sizes& sizes) {
  Choice choice;
  const auto step = static_cast<std::int32_t>(sizes.experts / sizes.per_token);
  for (int t = 0; t < tokens; ++t) {
    const std::int32_t few[kPerToken] = {0, 1 + t % 3, 5 + t % 11, 17 + t % 6};
    for (std::int32_t i = 0; i < sizes.per_token; ++i) {
      const bool is_default = sizes.experts == kExperts && sizes.per_token == kPerToken;
      const std::int32_t id = is_default ? few[i] : i * step + t % step;
      choice.ids.push_back(t == 5 ? -1 : id);
      choice.weights.push_back(0.1F + 0.05F * static_cast<float>((t + id) % 9));
    }
  }
  return choice;
}

class ExpertsTest : public OpTest {
 protected:
  static std::vector<float> SharedRows(int tokens, const Sizes& sizes = {}) {
    return RowsOf(RandomFloats(kMostTokens * sizes.hidden, 2), sizes.hidden, 0, tokens);
  }

  // Of the first tokens.
  std::vector<float> Mix(Backend& backend, const ExpertWeights& experts, int tokens,
                         bool has_shared, const Sizes& sizes = {}) {
    const Choice choice = MakeChoice(tokens, sizes);
    const DeviceInts ids(backend, choice.ids);
    const DeviceFloats weights(backend, DType::kF32, {tokens, sizes.per_token}, choice.weights);
    const DeviceFloats x =
        Act(backend, {tokens, sizes.hidden},
            RowsOf(RandomActs(act(), kMostTokens * sizes.hidden, 1), sizes.hidden, 0, tokens));
    const DeviceFloats shared(backend, DType::kF32, {tokens, sizes.hidden},
                              SharedRows(tokens, sizes));
    const DeviceFloats out = PoisonedAct(backend, {tokens, sizes.hidden});
    backend.MixExperts(
        x.tensor(),
        {.choice = {.ids = MakeTensor(ids.data(), DType::kI32, tokens, sizes.per_token),
                    .weights = weights.tensor()},
         .experts = experts,
         .shared = has_shared ? shared.tensor() : Tensor{}},
        out.tensor());
    return out.Read();
  }

  void ExpectMixedAsTheTwin(bool is_packed, const std::vector<int>& counts, bool has_shared,
                            const Sizes& sizes = {}) {
    const auto experts = MakeSome(device(), 0, sizes.experts, is_packed, sizes);
    const auto of_twin = MakeSome(twin(), 0, sizes.experts, is_packed, sizes);
    for (const int tokens : counts) {
      const std::vector<float> got = Mix(device(), *experts, tokens, has_shared, sizes);
      const std::vector<float> want = Mix(twin(), *of_twin, tokens, has_shared, sizes);
      ASSERT_EQ(got.size(), want.size());
      double most = 0;
      for (const float value : want) most = std::max(most, std::abs(double{value}));
      // What is between the products is rounded to the activations' type.
      const double tolerance = is_f32() ? 0 : 2 * ToleranceOf(Op::kSwiGlu, act()).of_magnitude;
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_NEAR(got[i], want[i], tolerance * most) << tokens << " tokens, element " << i;
      }
    }
  }

  // A token's experts by the device's own logits, against the router's choice by the same ones.
  void ExpectRoutedAsTheRouter(const RoutingRule& rule, int tokens, bool has_padding,
                               bool has_nan = false) {
    // Rows that are the same give equal logits: ties.
    std::vector<float> rows = RandomBf16Floats(rule.num_experts * kHidden, 7, 0.2F);
    for (const std::int64_t row : {3, 9, 20}) {
      std::copy_n(rows.begin(), kHidden, rows.begin() + row * kHidden);
    }
    const WeightSlice slice = SliceOf(rows, rule.num_experts, kHidden);
    const auto gate = device().MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
    std::vector<float> bias = RandomFloats(rule.num_experts, 8, 0.1F);
    for (const std::size_t row : {3, 9, 20}) bias[row] = bias[0];
    const DeviceFloats of_bias(device(), DType::kF32, {rule.num_experts}, bias);
    std::vector<float> x_rows = RandomActs(act(), tokens * kHidden, 9);
    if (has_nan) x_rows[7] = std::numeric_limits<float>::quiet_NaN();
    const DeviceFloats x = Act(device(), {tokens, kHidden}, x_rows);
    const DeviceFloats logits(device(), DType::kF32, {tokens, rule.num_experts});
    const DeviceFloats weights(device(), DType::kF32, {tokens, rule.per_token});
    const DeviceInts ids(
        device(), std::vector<std::int32_t>(static_cast<std::size_t>(tokens * rule.per_token)));
    std::vector<std::int32_t> sequences(static_cast<std::size_t>(tokens), 0);
    sequences.back() = -1;
    const DeviceInts token_seq(device(), sequences);
    device().RouteExperts(x.tensor(), *gate,
                          {.rule = rule, .bias = of_bias.tensor(), .logits = logits.tensor()},
                          has_padding ? token_seq.data() : nullptr,
                          {.ids = MakeTensor(ids.data(), DType::kI32, tokens, rule.per_token),
                           .weights = weights.tensor()});
    const std::vector<float> scores = logits.Read();
    const std::vector<std::int32_t> got = ids.Read();
    const std::vector<float> of_weights = weights.Read();
    ExpertRouter router(rule, bias);
    std::vector<ChosenExpert> chosen(static_cast<std::size_t>(rule.per_token));
    for (int t = 0; t < tokens; ++t) {
      router.Choose(scores.data() + std::int64_t{t} * rule.num_experts, chosen);
      for (std::size_t i = 0; i < chosen.size(); ++i) {
        const std::size_t at = static_cast<std::size_t>(t) * chosen.size() + i;
        ASSERT_EQ(got[at], has_padding && t + 1 == tokens ? -1 : chosen[i].id) << "token " << t;
        ASSERT_EQ(std::isnan(of_weights[at]), std::isnan(chosen[i].weight)) << "token " << t;
        if (!std::isnan(chosen[i].weight)) {
          ASSERT_EQ(of_weights[at], chosen[i].weight) << "token " << t;
        }
      }
    }
  }
};

TEST_P(ExpertsTest, RoutesAsTheRouterDoes) {
  const RoutingRule rule = {.num_experts = kExperts,
                            .num_groups = 4,
                            .kept_groups = 2,
                            .per_token = kPerToken,
                            .factor = 2.5F};
  RoutingRule all_groups = rule;
  all_groups.kept_groups = all_groups.num_groups;
  RoutingRule plain = rule;
  plain.normalise = false;
  for (const int tokens : {1, 40}) {
    for (const RoutingRule& one : {rule, all_groups, plain}) {
      ExpectRoutedAsTheRouter(one, tokens, true);
      ExpectRoutedAsTheRouter(one, tokens, false);
    }
    ExpectRoutedAsTheRouter(rule, tokens, false, true);
  }
}

// More experts than a block has threads, not in eights; and as many a token as there may be.
TEST_P(ExpertsTest, RoutesAmongManyAsTheRouterDoes) {
  for (const int tokens : {1, 18}) {
    ExpectRoutedAsTheRouter({.num_experts = 300, .num_groups = 1, .kept_groups = 1, .per_token = 9},
                            tokens, true);
    ExpectRoutedAsTheRouter(
        {.num_experts = 516, .num_groups = 4, .kept_groups = 3, .per_token = 64}, tokens, true);
  }
}

TEST_P(ExpertsTest, MixesAsTheTwin) {
  for (const bool is_packed : {false, true}) {
    ExpectMixedAsTheTwin(is_packed, {1, 12, 100, 300}, false);
  }
}

TEST_P(ExpertsTest, MixesOneTokenMoreThanAtATime) {
  ExpectMixedAsTheTwin(true, {kMostTokens}, true);
}

TEST_P(ExpertsTest, MixesManyExpertsAToken) {
  for (const std::int64_t per_token : {9, 64}) {
    ExpectMixedAsTheTwin(false, {1, 20}, true,
                         {.experts = 300, .hidden = 64, .ffn = 32, .per_token = per_token});
  }
}

// Columns that are no whole pieces of what a GPU reads at once.
TEST_P(ExpertsTest, MixesShortRows) {
  for (const auto& [hidden, ffn] : {std::pair{48, 16}, {80, 112}}) {
    ExpectMixedAsTheTwin(false, {1, 40}, true, {.hidden = hidden, .ffn = ffn});
  }
}

TEST_P(ExpertsTest, ATokenHasTheSameBitsAmongOthers) {
  for (const bool is_packed : {false, true}) {
    const auto experts = MakeSome(device(), 0, kExperts, is_packed);
    const std::vector<float> all = Mix(device(), *experts, 300, true);
    for (const int tokens : {1, 2, 9, 33, 100, 200}) {
      EXPECT_TRUE(StartsWith(all, Mix(device(), *experts, tokens, true))) << tokens;
    }
  }
}

TEST_P(ExpertsTest, Fp8HasTheBitsOfItsValues) {
  const auto packed = MakeSome(device(), 0, kExperts, true);
  const auto dense = MakeSome(device(), 0, kExperts, false);
  for (const int tokens : {1, 60}) {
    EXPECT_TRUE(SameBits(Mix(device(), *packed, tokens, true), Mix(device(), *dense, tokens, true)))
        << tokens;
  }
  EXPECT_LT(packed->bytes(), dense->bytes());
}

// Experts that are another rank's, and a padding token's, add nothing.
TEST_P(ExpertsTest, AddsItsOwnAlone) {
  const auto all = MakeSome(device(), 0, kExperts, true);
  const auto none = MakeSome(device(), 23, 1, true);
  const auto some = MakeSome(device(), 5, 12, true);
  const std::vector<float> whole = Mix(device(), *all, 12, false);
  const std::vector<float> part = Mix(device(), *some, 12, false);
  EXPECT_FALSE(SameBits(whole, part));
  const std::vector<float> padding = RowsOf(whole, kHidden, 5, 1);
  EXPECT_TRUE(SameBits(padding, std::vector<float>(kHidden)));
  EXPECT_TRUE(SameBits(Mix(device(), *none, 5, false), std::vector<float>(5 * kHidden)));
  const std::vector<float> shared = Act(device(), {5, kHidden}, SharedRows(5)).Read();
  EXPECT_TRUE(SameBits(Mix(device(), *none, 5, true), shared));
}

INSTANTIATE_TEST_SUITE_P(Devices, ExpertsTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
