#include <cmath>
#include <optional>

#include "tests/worker/kernels/paged_layer.h"
#include "worker/kernels/e4m3.h"

// QkvRopeWriteKv: tokens of three sequences with padding between them, blocks dealt out in
// disorder.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kBlock = 16;
constexpr int kMaxBlocks = 12;
constexpr int kBlocks = 40;
constexpr int kManyTokens = 258;

struct QkvShape {
  int heads;
  int kv_heads;
  int head_dim;
  int hidden;

  int rows() const { return (heads + 2 * kv_heads) * head_dim; }
};

std::vector<QkvShape> Shapes(DType activation) {
  if (activation == DType::kF32) return {{1, 1, 2, 1}, {6, 2, 24, 48}, {4, 4, 16, 33}};
  return {{6, 2, 128, 1536}};
}

std::string NameOf(const QkvShape& s) {
  return std::to_string(s.heads) + "/" + std::to_string(s.kv_heads) + " heads of " +
         std::to_string(s.head_dim);
}

// What the op is given, the same tokens however many.
struct Problem {
  QkvShape shape;
  std::vector<float> weights;
  std::vector<float> bias;
  std::vector<float> x;
  std::vector<float> rope;
  std::vector<std::int32_t> block_tables;
  std::vector<std::int32_t> slots = {2, 0, 1};

  Problem(const QkvShape& s, DType activation)
      : shape(s),
        weights(RandomBf16Floats(std::int64_t{s.rows()} * s.hidden, 1,
                                 activation == DType::kF32 ? 0.3F : 0.02F)),
        bias(RandomActs(activation, s.rows(), 2)),
        x(RandomActs(activation, std::int64_t{kManyTokens} * s.hidden, 3)),
        rope(RopeTable(kBlock * kMaxBlocks, s.head_dim)) {
    for (int i = 0; i < 3 * kMaxBlocks; ++i) block_tables.push_back((i * 7 + 5) % kBlocks);
  }

  static int PositionOf(int t) { return t / 3 * 2 + 1; }
  static int SeqOf(int t) { return t % 7 == 5 ? -1 : t % 3; }
  std::int64_t BlockOf(int t) const {
    const auto slot = slots[static_cast<std::size_t>(SeqOf(t))];
    return block_tables[static_cast<std::size_t>(slot * kMaxBlocks + PositionOf(t) / kBlock)];
  }
};

// Queries, keys and values of one token: its heads in the order of the weight's rows.
using Token = std::vector<float>;

// What the op wrote.
struct Memory {
  std::vector<float> q;
  std::vector<float> keys;
  std::vector<float> values;
};

std::vector<Token> TokensOf(const TestedDevice& device, const Problem& p, int tokens,
                            const Memory& memory, bool fp8) {
  const QkvShape& s = p.shape;
  std::vector<Token> result(static_cast<std::size_t>(tokens));
  for (int t = 0; t < tokens; ++t) {
    if (Problem::SeqOf(t) < 0) continue;
    Token& token = result[static_cast<std::size_t>(t)];
    token = RowsOf(memory.q, std::int64_t{s.heads} * s.head_dim, t, 1);
    for (const bool is_key : {true, false}) {
      for (int i = 0; i < s.kv_heads * s.head_dim; ++i) {
        const KvPlace place = {.block = p.BlockOf(t),
                               .kv_heads = s.kv_heads,
                               .head = i / s.head_dim,
                               .block_tokens = kBlock,
                               .offset = Problem::PositionOf(t) % kBlock,
                               .head_dim = s.head_dim,
                               .d = i % s.head_dim,
                               .fp8 = fp8};
        const auto at =
            static_cast<std::size_t>(is_key ? device.key_index(place) : device.value_index(place));
        token.push_back(is_key ? memory.keys[at] : memory.values[at]);
      }
    }
  }
  return result;
}

// Of the first `tokens` tokens, by the weights of `part`; padding's are empty. With `fp8` keys and
// values are kept so, and read back as the codes' numbers.
std::vector<Token> RunQkv(Backend& backend, const TestedDevice& device, const Problem& p,
                          int tokens, const WeightSlice& part,
                          const std::optional<KvScales>& fp8 = {}) {
  const QkvShape& s = p.shape;
  const WeightSlice bias = SliceOf(p.bias, s.rows(), 1);
  const auto weight = backend.MakeLinear({&part, 1}, {&bias, 1}, LinearLayout::kQkv);
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> seqs;
  for (int t = 0; t < tokens; ++t) {
    positions.push_back(Problem::PositionOf(t));
    seqs.push_back(Problem::SeqOf(t));
  }
  const DeviceBatch batch(backend, positions, seqs, {}, p.slots, p.block_tables, kMaxBlocks);
  const DeviceFloats x = Act(backend, {tokens, s.hidden}, RowsOf(p.x, s.hidden, 0, tokens));
  const DeviceFloats rope(backend, DType::kF32, {kBlock * kMaxBlocks, s.head_dim}, p.rope);
  const DType kept = fp8 ? DType::kE4m3 : backend.capabilities().activation;
  const DeviceFloats keys(backend, kept, {kBlocks, s.kv_heads * kBlock * s.head_dim});
  const DeviceFloats values(backend, kept, {kBlocks, s.kv_heads * kBlock * s.head_dim});
  const DeviceFloats q = PoisonedAct(backend, {tokens, s.heads, s.head_dim});
  backend.QkvRopeWriteKv(x.tensor(), *weight, rope.tensor(), batch.view(),
                         {.planes = {keys.tensor(), values.tensor()},
                          .num_kv_heads = s.kv_heads,
                          .block_tokens = kBlock,
                          .head_dim = s.head_dim,
                          .scales = fp8.value_or(KvScales())},
                         q.tensor());
  return TokensOf(device, p, tokens, {q.Read(), keys.Read(), values.Read()}, fp8.has_value());
}

std::vector<Token> RunQkv(Backend& backend, const TestedDevice& device, const Problem& p,
                          int tokens) {
  return RunQkv(backend, device, p, tokens, SliceOf(p.weights, p.shape.rows(), p.shape.hidden));
}

struct Expected {
  std::vector<double> values;
  std::vector<double> magnitudes;
};

// Of token t, in double precision.
Expected Reference(const Problem& p, int t) {
  const QkvShape& s = p.shape;
  Expected y = {{p.bias.begin(), p.bias.end()}, {}};
  for (int r = 0; r < s.rows(); ++r) {
    double magnitude = std::fabs(p.bias[static_cast<std::size_t>(r)]);
    for (int i = 0; i < s.hidden; ++i) {
      const double product =
          static_cast<double>(p.weights[static_cast<std::size_t>(r * s.hidden + i)]) *
          p.x[static_cast<std::size_t>(t * s.hidden + i)];
      y.values[static_cast<std::size_t>(r)] += product;
      magnitude += std::fabs(product);
    }
    y.magnitudes.push_back(magnitude);
  }
  const int half = s.head_dim / 2;
  const float* const rope = p.rope.data() + Problem::PositionOf(t) * s.head_dim;
  for (int h = 0; h < s.heads + s.kv_heads; ++h) {
    for (int i = 0; i < half; ++i) {
      const auto first = static_cast<std::size_t>(h * s.head_dim + i);
      const std::size_t second = first + static_cast<std::size_t>(half);
      const double a = y.values[first];
      const double b = y.values[second];
      y.values[first] = a * rope[i] - b * rope[half + i];
      y.values[second] = b * rope[i] + a * rope[half + i];
      y.magnitudes[first] = y.magnitudes[second] = y.magnitudes[first] + y.magnitudes[second];
    }
  }
  return y;
}

class QkvRopeWriteKvTest : public OpTest {};

TEST_P(QkvRopeWriteKvTest, EqualsDoublePrecision) {
  const Tolerance& tolerance = ToleranceOf(Op::kQkv, act());
  for (const QkvShape& shape : Shapes(act())) {
    const Problem p(shape, act());
    const std::vector<Token> got = RunQkv(device(), GetParam(), p, kManyTokens);
    for (int t = 0; t < kManyTokens; ++t) {
      const Token& token = got[static_cast<std::size_t>(t)];
      if (token.empty()) continue;
      const Expected want = Reference(p, t);
      ASSERT_EQ(token.size(), want.values.size());
      for (std::size_t i = 0; i < token.size(); ++i) {
        ASSERT_NEAR(token[i], want.values[i], tolerance.FromDouble(want.magnitudes[i]))
            << NameOf(shape) << ", token " << t << " row " << i;
      }
    }
  }
}

TEST_P(QkvRopeWriteKvTest, SameBitsInEveryWayAndAnyCompany) {
  Backend& model = GetParam().is_own_twin ? twin() : device();
  const std::vector<Way> ways = GetParam().ways();
  for (const QkvShape& shape : Shapes(act())) {
    const Problem p(shape, act());
    const std::vector<Token> many = RunQkv(model, GetParam(), p, kManyTokens);
    for (const Way& way : ways) {
      for (const int tokens : {kManyTokens, 1, 2, 8, 9, 17, 33, 64, 65, 128, 129, 192, 256}) {
        const std::vector<Token> some = RunQkv(*way.backend, GetParam(), p, tokens);
        for (std::size_t t = 0; t < some.size(); ++t) {
          ASSERT_TRUE(SameBits(some[t], many[t]))
              << NameOf(shape) << ", " << way.name << ", token " << t << " of " << tokens;
        }
      }
    }
  }
}

TEST_P(QkvRopeWriteKvTest, PackedWeightsGiveTheBitsOfTheirValues) {
  const QkvShape shape = is_f32() ? QkvShape{4, 2, 24, 256} : QkvShape{6, 2, 128, 1536};
  Problem p(shape, act());
  const PackedMatrix matrix(shape.rows(), shape.hidden, 7, 0.01F);
  p.weights = matrix.values();
  for (const int tokens : {1, 3, 8, 16, 33, 64, 65, 258}) {
    const auto packed = RunQkv(device(), GetParam(), p, tokens, matrix.packed());
    const auto dense = RunQkv(device(), GetParam(), p, tokens);
    for (std::size_t t = 0; t < packed.size(); ++t) {
      EXPECT_TRUE(SameBits(packed[t], dense[t])) << tokens << " tokens, token " << t;
    }
  }
}

// Whatever wrote them, keys and values in FP8 are what would stand there otherwise, rounded once
// more. The last scale is so small that most saturate.
TEST_P(QkvRopeWriteKvTest, Fp8IsTheRoundedActivation) {
  const QkvShape shape = Shapes(act()).back();
  const Problem p(shape, act());
  const WeightSlice part = SliceOf(p.weights, shape.rows(), shape.hidden);
  const auto queries = static_cast<std::size_t>(shape.heads * shape.head_dim);
  const auto keys = static_cast<std::size_t>(shape.kv_heads * shape.head_dim);
  for (const KvScales& scales : {KvScales(), {0.013F, 0.4F}, {1e-6F, 1e-5F}}) {
    for (const int tokens : {1, 8, 17, 64, 65, kManyTokens}) {
      const auto whole = RunQkv(device(), GetParam(), p, tokens, part);
      const auto fp8 = RunQkv(device(), GetParam(), p, tokens, part, scales);
      for (std::size_t t = 0; t < whole.size(); ++t) {
        Token expected = whole[t];
        for (std::size_t i = queries; i < expected.size(); ++i) {
          const float scale = i < queries + keys ? scales.keys : scales.values;
          expected[i] = FloatFromE4m3<void>(E4m3FromFloat<void>(expected[i] * (1.0F / scale)));
        }
        ASSERT_TRUE(SameBits(fp8[t], expected)) << tokens << " tokens, token " << t;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, QkvRopeWriteKvTest, testing::ValuesIn(TestedDevices()),
                         DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
