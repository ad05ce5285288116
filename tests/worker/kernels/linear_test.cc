#include <algorithm>
#include <cmath>

#include "tests/worker/kernels/op_testing.h"

// Linear, LmHead and GateUpSwiGlu.
namespace thinkwire::worker::kernels {
namespace {

struct Shape {
  std::int64_t tokens;
  std::int64_t in;
  std::int64_t out;
};

std::string NameOf(const Shape& s) {
  return std::to_string(s.tokens) + "x" + std::to_string(s.in) + "x" + std::to_string(s.out);
}

// bf16 products take columns in eights, SwiGLU's also rows.
std::vector<Shape> OddShapes(DType activation) {
  if (activation == DType::kF32) {
    return {{1, 1, 1},   {1, 32, 8},   {2, 31, 7},    {3, 33, 9},  {4, 64, 16},
            {5, 100, 3}, {97, 48, 25}, {1, 1536, 40}, {7, 257, 65}};
  }
  return {{1, 8, 8}, {2, 72, 17}, {3, 40, 9}, {5, 104, 3}, {97, 48, 25}, {65, 264, 40}};
}

std::vector<Shape> OddSwiGluShapes(DType activation) {
  if (activation == DType::kF32) return OddShapes(activation);
  return {{1, 8, 8}, {2, 72, 16}, {97, 48, 24}, {65, 264, 40}};
}

// bf16: K long enough that every ring of an H200's products goes round more than once, rows and
// tokens such that each shape of its tiles is the best one for some, and a single token that is
// just short enough to come whole, and too long.
std::vector<Shape> ManyTokens(DType activation) {
  if (activation == DType::kF32) return {{101, 257, 41}};
  return {{130, 8, 8},       {130, 72, 17},     {130, 1536, 256},  {258, 8960, 1536},
          {258, 264, 2112},  {130, 1096, 8470}, {258, 1608, 3072}, {258, 1608, 3584},
          {258, 1608, 4096}, {258, 1608, 4616}, {258, 1608, 6144}, {258, 1608, 8192},
          {17, 1600, 5120},  {2, 20008, 40},    {2, 21000, 40}};
}

std::vector<Shape> ManySwiGluTokens(DType activation) {
  if (activation == DType::kF32) return {{101, 257, 41}};
  return {{130, 72, 16},     {130, 512, 1000},  {258, 1608, 768},  {258, 1608, 1792},
          {258, 1608, 2304}, {258, 1608, 4096}, {258, 1608, 4304}, {258, 1608, 6144},
          {258, 1608, 8960}, {258, 1608, 14336}};
}

constexpr std::int64_t kSomeTokens[] = {1,  2,  3,  8,  9,   16,  17,  31,  32,  33,  47,  63,
                                        64, 65, 96, 97, 127, 128, 129, 192, 193, 255, 256, 257};

// What products of one shape take.
struct Operands {
  Shape shape;
  std::vector<float> weights;
  std::vector<float> up;  // of SwiGLU
  std::vector<float> x;

  Operands(const Shape& s, DType activation, float x_scale = 1.0F)
      : shape(s),
        weights(RandomBf16Floats(s.out * s.in, 1, Scale(s, activation))),
        up(RandomBf16Floats(s.out * s.in, 9, Scale(s, activation))),
        x(RandomActs(activation, s.tokens * s.in, 3, x_scale)) {}

 private:
  // Keeps sums that are rounded to bf16 near 1.
  static float Scale(const Shape& s, DType activation) {
    return activation == DType::kF32 ? 1.0F : 1.0F / std::sqrt(static_cast<float>(s.in));
  }
};

// One device's weight and what it makes of some of the tokens.
class Product {
 public:
  Product(Backend& backend, const Operands& operands, LinearLayout layout = LinearLayout::kPlain)
      : backend_(backend), operands_(operands) {
    const Shape& s = operands.shape;
    std::vector<WeightSlice> parts = {SliceOf(operands.weights, s.out, s.in)};
    if (layout == LinearLayout::kGateUp) parts.push_back(SliceOf(operands.up, s.out, s.in));
    weight_ = backend.MakeLinear(parts, {}, layout);
  }

  std::vector<float> Linear(std::int64_t first, std::int64_t tokens) {
    return Run(first, tokens, backend_.capabilities().activation, &Backend::Linear);
  }
  std::vector<float> LmHead(std::int64_t first, std::int64_t tokens) {
    return Run(first, tokens, DType::kF32, &Backend::LmHead);
  }
  std::vector<float> SwiGlu(std::int64_t first, std::int64_t tokens) {
    return Run(first, tokens, backend_.capabilities().activation, &Backend::GateUpSwiGlu);
  }

 private:
  using Function = void (Backend::*)(const Tensor& x, const LinearWeight& weight,
                                     const Tensor& out);

  std::vector<float> Run(std::int64_t first, std::int64_t tokens, DType out_type, Function op) {
    const Shape& s = operands_.shape;
    const DeviceFloats x = Act(backend_, {tokens, s.in}, RowsOf(operands_.x, s.in, first, tokens));
    const DeviceFloats out(backend_, out_type, {tokens, s.out});
    (backend_.*op)(x.tensor(), *weight_, out.tensor());
    return out.Read();
  }

  Backend& backend_;
  const Operands& operands_;
  std::unique_ptr<LinearWeight> weight_;
};
using Ask = std::vector<float> (Product::*)(std::int64_t first, std::int64_t tokens);

// A dot product and what it adds up.
struct Sum {
  double value = 0;
  double magnitude = 0;
};
Sum Dot(const Operands& operands, const std::vector<float>& weights, std::int64_t t,
        std::int64_t o) {
  const std::int64_t in = operands.shape.in;
  Sum sum;
  for (std::int64_t i = 0; i < in; ++i) {
    const double product = static_cast<double>(operands.x[static_cast<std::size_t>(t * in + i)]) *
                           weights[static_cast<std::size_t>(o * in + i)];
    sum.value += product;
    sum.magnitude += std::fabs(product);
  }
  return sum;
}

// A token has the same bits whatever tokens stand beside it.
void ExpectSameBitsInAnyCompany(Product& product, Ask ask, const Shape& s) {
  const std::vector<float> all = (product.*ask)(0, s.tokens);
  for (const std::int64_t tokens : kSomeTokens) {
    if (tokens > s.tokens) break;
    EXPECT_TRUE(StartsWith(all, (product.*ask)(0, tokens))) << NameOf(s) << ", first " << tokens;
  }
  for (const std::int64_t chunk : {1, 2, 5, 64}) {
    std::vector<float> pieces;
    for (std::int64_t t = 0; t < s.tokens; t += chunk) {
      const auto piece = (product.*ask)(t, std::min(chunk, s.tokens - t));
      pieces.insert(pieces.end(), piece.begin(), piece.end());
    }
    EXPECT_TRUE(SameBits(pieces, all)) << NameOf(s) << ", chunks of " << chunk;
  }
}

// Silu(gate) * up in bf16 may differ from the twin's by three roundings: of the gate, which counts
// |1 + gate (1 - sigmoid(gate))| times (silu's condition number, 6 at gate -7), of up, and of the
// product.
testing::AssertionResult IsLikeTwinSwiGlu(DType activation, const std::vector<float>& got,
                                          const std::vector<float>& twin,
                                          const std::vector<float>& gate) {
  if (activation == DType::kF32) return IsLikeTwin(Op::kSwiGlu, activation, got, twin);
  if (got.size() != twin.size()) return testing::AssertionFailure() << "another size";
  const Tolerance& tolerance = ToleranceOf(Op::kSwiGlu, activation);
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double x = gate[i];
    const double condition = std::abs(1.0 + x / (1.0 + std::exp(x)));
    const double magnitude = std::abs(static_cast<double>(twin[i])) * (condition + 2.0);
    const double limit = tolerance.FromTwin(magnitude);
    if (!(std::abs(static_cast<double>(got[i]) - twin[i]) <= limit)) {
      return testing::AssertionFailure() << "element " << i << " is " << got[i] << " instead of "
                                         << twin[i] << ", its gate " << x;
    }
  }
  return testing::AssertionSuccess();
}

class LinearTest : public OpTest {};
class GateUpSwiGluTest : public OpTest {};
class LinearDeathTest : public OpTest {};

TEST_P(LinearTest, EqualsDoublePrecision) {
  for (const Shape& s : OddShapes(act())) {
    const Operands operands(s, act());
    Product product(device(), operands);
    const std::vector<float> out = product.Linear(0, s.tokens);
    const std::vector<float> logits = product.LmHead(0, s.tokens);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t o = 0; o < s.out; ++o) {
        const Sum sum = Dot(operands, operands.weights, t, o);
        const auto at = static_cast<std::size_t>(t * s.out + o);
        ASSERT_NEAR(out[at], sum.value, ToleranceOf(Op::kLinear, act()).FromDouble(sum.magnitude))
            << NameOf(s) << " at " << t << ", " << o;
        ASSERT_NEAR(logits[at], sum.value,
                    ToleranceOf(Op::kLmHead, act()).FromDouble(sum.magnitude))
            << NameOf(s) << " at " << t << ", " << o;
      }
    }
  }
}

TEST_P(LinearTest, IsLikeItsTwinInEveryWay) {
  std::vector<Shape> shapes = OddShapes(act());
  for (const Shape& s : ManyTokens(act())) shapes.push_back(s);
  const std::vector<Way> ways = GetParam().ways();
  for (const Shape& s : shapes) {
    const Operands operands(s, act());
    Product on_twin(twin(), operands);
    const std::vector<float> twin_out = on_twin.Linear(0, s.tokens);
    for (const Way& way : ways) {
      Product product(*way.backend, operands);
      EXPECT_TRUE(IsLikeTwin(Op::kLinear, act(), product.Linear(0, s.tokens), twin_out))
          << NameOf(s) << ", " << way.name;
      EXPECT_TRUE(IsLikeTwin(Op::kLmHead, act(), product.LmHead(0, s.tokens), twin_out))
          << NameOf(s) << ", " << way.name;
    }
  }
}

TEST_P(LinearTest, ATokenAloneHasTheBitsItHasAmongOthers) {
  for (const Way& way : GetParam().ways()) {
    SCOPED_TRACE(way.name);
    for (const Shape& s : ManyTokens(act())) {
      const Operands operands(s, act());
      Product product(*way.backend, operands);
      ExpectSameBitsInAnyCompany(product, &Product::Linear, s);
      ExpectSameBitsInAnyCompany(product, &Product::LmHead, s);
    }
  }
}

TEST_P(LinearTest, StacksPartsOfAnyTypeAndStride) {
  const std::int64_t in = 40;
  const std::vector<float> values = RandomBf16Floats(9 * 50, 4);
  const std::vector<std::uint16_t> bf16 = ToBf16(values);
  // Columns 10 .. 49 of a matrix of 50: bf16 rows 0-4, then f32 rows 5-8.
  const std::vector<WeightSlice> parts = {{.data = bf16.data() + 10,
                                           .encoding = Encoding::kBf16,
                                           .rows = 5,
                                           .cols = in,
                                           .row_stride = 50},
                                          {.data = values.data() + 5 * 50 + 10,
                                           .encoding = Encoding::kF32,
                                           .rows = 4,
                                           .cols = in,
                                           .row_stride = 50}};
  const auto weight = device().MakeLinear(parts, {}, LinearLayout::kPlain);
  EXPECT_EQ(weight->out_features(), 9);
  EXPECT_EQ(weight->in_features(), in);
  std::vector<float> one_hot(static_cast<std::size_t>(in * in));
  for (std::int64_t i = 0; i < in; ++i) one_hot[static_cast<std::size_t>(i * in + i)] = 1.0F;
  const DeviceFloats x = Act(device(), {in, in}, one_hot);
  const DeviceFloats logits(device(), DType::kF32, {in, 9});
  device().LmHead(x.tensor(), *weight, logits.tensor());
  const std::vector<float> out = logits.Read();
  for (std::int64_t i = 0; i < in; ++i) {
    for (std::int64_t o = 0; o < 9; ++o) {
      EXPECT_EQ(out[static_cast<std::size_t>(i * 9 + o)],
                values[static_cast<std::size_t>(o * 50 + 10 + i)]);
    }
  }
}

TEST_P(LinearDeathTest, ABiasIsForQkvAlone) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::vector<float> values(128 * 8, 1.0F);
  const std::vector<WeightSlice> parts(3, SliceOf(values, 128, 8));
  const std::vector<WeightSlice> two(parts.begin(), parts.begin() + 2);
  const std::vector<WeightSlice> bias(3, SliceOf(values, 128, 1));
  EXPECT_DEATH(device().MakeLinear(parts, bias, LinearLayout::kPlain),
               "only a QKV weight has a bias");
  EXPECT_DEATH(device().MakeLinear(two, bias, LinearLayout::kGateUp),
               "only a QKV weight has a bias");
  EXPECT_EQ(device().MakeLinear(parts, bias, LinearLayout::kQkv)->out_features(), 3 * 128);
}

TEST_P(GateUpSwiGluTest, EqualsDoublePrecision) {
  for (const Shape& s : OddSwiGluShapes(act())) {
    const Operands operands(s, act());
    Product product(device(), operands, LinearLayout::kGateUp);
    const std::vector<float> out = product.SwiGlu(0, s.tokens);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t o = 0; o < s.out; ++o) {
        const Sum gate = Dot(operands, operands.weights, t, o);
        const Sum up = Dot(operands, operands.up, t, o);
        ASSERT_NEAR(
            out[static_cast<std::size_t>(t * s.out + o)],
            gate.value / (1 + std::exp(-gate.value)) * up.value,
            ToleranceOf(Op::kSwiGlu, act()).FromDouble((1 + gate.magnitude) * (1 + up.magnitude)))
            << NameOf(s) << " at " << t << ", " << o;
      }
    }
  }
}

TEST_P(GateUpSwiGluTest, IsLikeItsTwinInEveryWay) {
  std::vector<Shape> shapes = OddSwiGluShapes(act());
  for (const Shape& s : ManySwiGluTokens(act())) shapes.push_back(s);
  const std::vector<Way> ways = GetParam().ways();
  for (const Shape& s : shapes) {
    const Operands operands(s, act(), 2.0F);
    const std::vector<float> gates = Product(twin(), operands).Linear(0, s.tokens);
    const std::vector<float> want =
        Product(twin(), operands, LinearLayout::kGateUp).SwiGlu(0, s.tokens);
    for (const Way& way : ways) {
      Product product(*way.backend, operands, LinearLayout::kGateUp);
      EXPECT_TRUE(IsLikeTwinSwiGlu(act(), product.SwiGlu(0, s.tokens), want, gates))
          << NameOf(s) << ", " << way.name;
    }
  }
}

TEST_P(GateUpSwiGluTest, ATokenAloneHasTheBitsItHasAmongOthers) {
  for (const Shape& s : ManySwiGluTokens(act())) {
    const Operands operands(s, act(), 2.0F);
    Product product(device(), operands, LinearLayout::kGateUp);
    ExpectSameBitsInAnyCompany(product, &Product::SwiGlu, s);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, LinearTest, testing::ValuesIn(TestedDevices()), DeviceName);
INSTANTIATE_TEST_SUITE_P(Devices, LinearDeathTest, testing::ValuesIn(TestedDevices()), DeviceName);
INSTANTIATE_TEST_SUITE_P(Devices, GateUpSwiGluTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
