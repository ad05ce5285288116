#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/unpack_row.h"

// The ops of a mixture of experts.
namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kExperts = 24;
constexpr std::int64_t kHidden = 256;
constexpr std::int64_t kFfn = 128;
constexpr std::int64_t kPerToken = 4;
constexpr RoutingRule kRule = {.num_experts = kExperts,
                               .num_groups = 4,
                               .kept_groups = 2,
                               .per_token = kPerToken,
                               .factor = 2.5F};

// A matrix of FP8, or the values that it stands for.
struct Matrix {
  Matrix(std::int64_t rows, std::int64_t cols, std::uint32_t seed, bool is_packed)
      : rows(rows), cols(cols), is_packed(is_packed) {
    std::uint32_t state = seed * 2654435761U + 1;
    values.resize(static_cast<std::size_t>(rows * cols));
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

// Experts [first, first + count) of kExperts.
std::unique_ptr<ExpertWeights> MakeSome(Backend& backend, std::int64_t first, std::int64_t count,
                                        bool is_packed) {
  auto experts = backend.MakeExperts({.first = first,
                                      .count = count,
                                      .hidden = kHidden,
                                      .ffn = kFfn,
                                      .encoding = is_packed ? Encoding::kFp8 : Encoding::kBf16});
  for (std::int64_t i = 0; i < count; ++i) {
    const auto seed = static_cast<std::uint32_t>(3 * (first + i));
    const Matrix gate(kFfn, kHidden, seed, is_packed);
    const Matrix up(kFfn, kHidden, seed + 1, is_packed);
    const Matrix down(kHidden, kFfn, seed + 2, is_packed);
    experts->Set(i, {gate.Slice(), up.Slice(), down.Slice()});
  }
  return experts;
}

// What tokens choose, on the host.
struct Choice {
  std::vector<std::int32_t> ids;
  std::vector<float> weights;
};

// Some experts are chosen by most tokens, some by few, the last by none.
Choice MakeChoice(int tokens) {
  Choice choice;
  for (int t = 0; t < tokens; ++t) {
    const std::int32_t ids[kPerToken] = {0, 1 + t % 3, 5 + t % 11, 17 + t % 6};
    for (const std::int32_t id : ids) {
      choice.ids.push_back(t == 5 ? -1 : id);
      choice.weights.push_back(0.1F + 0.05F * static_cast<float>((t + id) % 9));
    }
  }
  return choice;
}

class ExpertsTest : public OpTest {
 protected:
  static std::vector<float> SharedRows(int tokens) {
    return RowsOf(RandomFloats(300 * kHidden, 2), kHidden, 0, tokens);
  }

  // Of the first tokens.
  std::vector<float> Mix(Backend& backend, const ExpertWeights& experts, int tokens,
                         bool has_shared) {
    const Choice choice = MakeChoice(tokens);
    const DeviceInts ids(backend, choice.ids);
    const DeviceFloats weights(backend, DType::kF32, {tokens, kPerToken}, choice.weights);
    const DeviceFloats x = Act(backend, {tokens, kHidden},
                               RowsOf(RandomActs(act(), 300 * kHidden, 1), kHidden, 0, tokens));
    const DeviceFloats shared(backend, DType::kF32, {tokens, kHidden}, SharedRows(tokens));
    const DeviceFloats out = PoisonedAct(backend, {tokens, kHidden});
    backend.MixExperts(x.tensor(),
                       {.choice = {.ids = MakeTensor(ids.data(), DType::kI32, tokens, kPerToken),
                                   .weights = weights.tensor()},
                        .experts = experts,
                        .shared = has_shared ? shared.tensor() : Tensor{}},
                       out.tensor());
    return out.Read();
  }
};

TEST_P(ExpertsTest, RoutesAsTheRouterDoes) {
  // Rows that are the same give equal logits: ties.
  std::vector<float> rows = RandomBf16Floats(kExperts * kHidden, 7, 0.2F);
  for (const std::int64_t row : {3, 9, 20}) {
    std::copy_n(rows.begin(), kHidden, rows.begin() + row * kHidden);
  }
  const WeightSlice slice = SliceOf(rows, kExperts, kHidden);
  const auto gate = device().MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
  std::vector<float> bias = RandomFloats(kExperts, 8, 0.1F);
  for (const std::size_t row : {3, 9, 20}) bias[row] = bias[0];
  const DeviceFloats of_bias(device(), DType::kF32, {kExperts}, bias);
  for (const int tokens : {1, 40}) {
    const DeviceFloats x = Act(device(), {tokens, kHidden}, RandomActs(act(), tokens * kHidden, 9));
    const DeviceFloats logits(device(), DType::kF32, {tokens, kExperts});
    const DeviceFloats weights(device(), DType::kF32, {tokens, kPerToken});
    const DeviceInts ids(device(),
                         std::vector<std::int32_t>(static_cast<std::size_t>(tokens * kPerToken)));
    std::vector<std::int32_t> sequences(static_cast<std::size_t>(tokens), 0);
    sequences.back() = -1;
    const DeviceInts token_seq(device(), sequences);
    device().RouteExperts(x.tensor(), *gate,
                          {.rule = kRule, .bias = of_bias.tensor(), .logits = logits.tensor()},
                          token_seq.data(),
                          {.ids = MakeTensor(ids.data(), DType::kI32, tokens, kPerToken),
                           .weights = weights.tensor()});
    const std::vector<float> scores = logits.Read();
    const std::vector<std::int32_t> got = ids.Read();
    const std::vector<float> of_weights = weights.Read();
    ExpertRouter router(kRule, bias);
    std::vector<ChosenExpert> chosen(kPerToken);
    for (int t = 0; t < tokens; ++t) {
      router.Choose(scores.data() + t * kExperts, chosen);
      for (std::size_t i = 0; i < kPerToken; ++i) {
        const std::size_t at = static_cast<std::size_t>(t) * kPerToken + i;
        ASSERT_EQ(got[at], t + 1 == tokens ? -1 : chosen[i].id) << "token " << t;
        ASSERT_EQ(of_weights[at], chosen[i].weight) << "token " << t;
      }
    }
  }
}

TEST_P(ExpertsTest, MixesAsTheTwin) {
  for (const bool is_packed : {false, true}) {
    const auto experts = MakeSome(device(), 0, kExperts, is_packed);
    const auto of_twin = MakeSome(twin(), 0, kExperts, is_packed);
    for (const int tokens : {1, 12, 100, 300}) {
      const std::vector<float> got = Mix(device(), *experts, tokens, false);
      const std::vector<float> want = Mix(twin(), *of_twin, tokens, false);
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
