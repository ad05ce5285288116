#include <cmath>

#include "tests/worker/kernels/op_testing.h"

// RmsNorm and AddRmsNorm, and what a backend may do of them within the product that follows.
namespace thinkwire::worker::kernels {
namespace {

constexpr float kEps = 1e-6F;

// What a norm left in memory.
struct Normed {
  std::vector<float> sum;
  std::vector<float> out;
};

// The rows of a residual stream, a part's results and a weight. Rows are the same however many
// there are.
struct Rows {
  std::int64_t tokens;
  std::int64_t width;
  std::vector<float> partial;
  std::vector<float> residual;
  std::vector<float> weight;

  Rows(DType activation, std::int64_t tokens, std::int64_t width)
      : tokens(tokens),
        width(width),
        partial(RandomActs(activation, tokens * width, 1)),
        residual(RandomActs(activation, tokens * width, 2, 3.0F)),
        weight(RandomBf16Floats(width, 3)) {}
};

// AddRmsNorm of rows [first, first + count).
Normed RunAddRmsNorm(Backend& backend, const Rows& rows, std::int64_t first, std::int64_t count,
                     bool in_place = false) {
  const std::int64_t width = rows.width;
  const Buffer weight = backend.MakeTable(SliceOf(rows.weight, width, 1));
  const DeviceFloats partial =
      Act(backend, {count, width}, RowsOf(rows.partial, width, first, count));
  const std::vector<float> before = RowsOf(rows.residual, width, first, count);
  const DeviceFloats residual = Act(backend, {count, width}, before);
  const DeviceFloats elsewhere = PoisonedAct(backend, {count, width});
  const DeviceFloats out = PoisonedAct(backend, {count, width});
  const DeviceFloats& sum = in_place ? residual : elsewhere;
  backend.AddRmsNorm({.partial = partial.tensor(),
                      .residual = residual.tensor(),
                      .sum = sum.tensor(),
                      .weight = MakeTensor(weight.data(), DType::kBf16, width),
                      .eps = kEps,
                      .out = out.tensor()});
  Normed normed = {sum.Read(), out.Read()};
  if (!in_place) {
    EXPECT_TRUE(SameBits(residual.Read(), before));
  }
  return normed;
}

std::vector<float> RunRmsNorm(Backend& backend, const std::vector<float>& x, std::int64_t width,
                              const std::vector<float>& weight) {
  const auto tokens = static_cast<std::int64_t>(x.size()) / width;
  const Buffer table = backend.MakeTable(SliceOf(weight, width, 1));
  const DeviceFloats in = Act(backend, {tokens, width}, x);
  const DeviceFloats out = PoisonedAct(backend, {tokens, width});
  backend.RmsNorm(in.tensor(), MakeTensor(table.data(), DType::kBf16, width), kEps, out.tensor());
  return out.Read();
}

// bf16 rows are whole pieces of eight.
std::vector<std::int64_t> Widths(DType activation) {
  if (activation == DType::kF32) return {1, 15, 16, 17, 33, 96, 1000, 1536};
  return {8, 264, 1536, 3584, 5120, 8192};
}

class RmsNormTest : public OpTest {};
class AddRmsNormTest : public OpTest {};

TEST_P(RmsNormTest, EqualsDoublePrecision) {
  for (const std::int64_t width : Widths(act())) {
    for (const std::int64_t tokens : {1, 40}) {
      const std::vector<float> x = RandomActs(act(), tokens * width, 1);
      const std::vector<float> weight = RandomBf16Floats(width, 2);
      const std::vector<float> out = RunRmsNorm(device(), x, width, weight);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const std::vector<float> row = RowsOf(x, width, t, 1);
        double squares = 0;
        for (const float value : row) squares += static_cast<double>(value) * value;
        const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + kEps);
        for (std::int64_t i = 0; i < width; ++i) {
          const auto at = static_cast<std::size_t>(i);
          const double expected = row[at] * scale * weight[at];
          ASSERT_NEAR(out[static_cast<std::size_t>(t * width + i)], expected,
                      ToleranceOf(Op::kNorm, act()).FromDouble(std::fabs(expected)))
              << tokens << "x" << width << " at " << t << ", " << i;
        }
      }
    }
  }
}

TEST_P(AddRmsNormTest, AddsThenNorms) {
  for (const std::int64_t width : Widths(act())) {
    const Rows rows(act(), 3, width);
    const Normed result = RunAddRmsNorm(device(), rows, 0, 3);
    std::vector<float> sum = rows.residual;
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += rows.partial[i];
    EXPECT_TRUE(IsLikeTwin(Op::kResidualSum, act(), result.sum, sum)) << width;
    EXPECT_TRUE(IsLikeTwin(Op::kNorm, act(), result.out,
                           RunRmsNorm(device(), result.sum, width, rows.weight)))
        << width;
  }
}

TEST_P(AddRmsNormTest, IsLikeItsTwinInEveryWayAndForARowAlone) {
  const std::vector<Way> ways = GetParam().ways();
  for (const std::int64_t width : Widths(act())) {
    for (const std::int64_t tokens : {1, 3, 37, 70}) {
      const Rows rows(act(), tokens, width);
      const Normed want = RunAddRmsNorm(twin(), rows, 0, tokens);
      for (const Way& way : ways) {
        SCOPED_TRACE(testing::Message() << tokens << "x" << width << ", " << way.name);
        const Normed all = RunAddRmsNorm(*way.backend, rows, 0, tokens);
        EXPECT_TRUE(IsLikeTwin(Op::kResidualSum, act(), all.sum, want.sum));
        EXPECT_TRUE(IsLikeTwin(Op::kNorm, act(), all.out, want.out));
        const Normed in_place = RunAddRmsNorm(*way.backend, rows, 0, tokens, true);
        EXPECT_TRUE(SameBits(in_place.sum, all.sum));
        EXPECT_TRUE(SameBits(in_place.out, all.out));
        const Normed last = RunAddRmsNorm(*way.backend, rows, tokens - 1, 1);
        EXPECT_TRUE(SameBits(last.sum, RowsOf(all.sum, width, tokens - 1, 1)));
        EXPECT_TRUE(SameBits(last.out, RowsOf(all.out, width, tokens - 1, 1)));
      }
    }
  }
}

// A norm, the product that reads it, that product's input normed again, and a second product.
class NormsAndProducts {
 public:
  NormsAndProducts(Backend& backend, std::int64_t rows, std::int64_t columns)
      : backend_(backend), rows_(rows), columns_(columns) {
    const auto weights = RandomBf16Floats(rows * columns, 1, 0.02F);
    const WeightSlice slice = SliceOf(weights, rows, columns);
    WeightSlice halves[] = {slice, slice};
    halves[0].rows = halves[1].rows = rows / 2;
    halves[1].data = weights.data() + rows / 2 * columns;
    head_ = backend.MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
    gate_up_ = backend.MakeLinear(halves, {}, LinearLayout::kGateUp);
    table_ = backend.MakeTable(SliceOf(RandomBf16Floats(columns, 2), columns, 1));
  }

  // All that they leave in memory. What waits between them cannot be done on the way.
  std::vector<float> Run(std::int64_t tokens, bool in_place, bool adds) {
    const Rows rows(backend_.capabilities().activation, tokens, columns_);
    const DeviceFloats partial = Act(backend_, {tokens, columns_}, rows.partial);
    const DeviceFloats residual = Act(backend_, {tokens, columns_}, rows.residual);
    const DeviceFloats elsewhere = PoisonedAct(backend_, {tokens, columns_});
    const DeviceFloats& sum = in_place ? residual : elsewhere;
    const DeviceFloats x = PoisonedAct(backend_, {tokens, columns_});
    const DeviceFloats again = PoisonedAct(backend_, {tokens, columns_});
    const DeviceFloats logits(backend_, DType::kF32, {tokens, rows_});
    const DeviceFloats gated = PoisonedAct(backend_, {tokens, rows_ / 2});
    const Tensor weight = MakeTensor(table_.data(), DType::kBf16, columns_);
    if (adds) {
      backend_.AddRmsNorm({.partial = partial.tensor(),
                           .residual = residual.tensor(),
                           .sum = sum.tensor(),
                           .weight = weight,
                           .eps = kEps,
                           .out = x.tensor()});
    } else {
      backend_.RmsNorm(residual.tensor(), weight, kEps, x.tensor());
    }
    if (in_place) backend_.Synchronize();
    backend_.LmHead(x.tensor(), *head_, logits.tensor());
    backend_.RmsNorm(x.tensor(), weight, kEps, again.tensor());
    if (in_place) backend_.Synchronize();
    backend_.GateUpSwiGlu(again.tensor(), *gate_up_, gated.tensor());
    std::vector<float> all = adds ? sum.Read() : std::vector<float>();
    for (const DeviceFloats* part : {&x, &logits, &again, &gated}) {
      const std::vector<float> values = part->Read();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

 private:
  Backend& backend_;
  const std::int64_t rows_;
  const std::int64_t columns_;
  std::unique_ptr<LinearWeight> head_;
  std::unique_ptr<LinearWeight> gate_up_;
  Buffer table_;
};

struct ProductShape {
  std::int64_t rows;
  std::int64_t columns;
};

std::vector<ProductShape> ProductShapes(DType activation) {
  if (activation == DType::kF32) return {{208, 8}, {50, 33}};
  return {{208, 8},     {2048, 1536}, {5008, 264}, {5008, 3584},
          {8800, 1096}, {704, 8192},  {8800, 5120}};
}

// A product may do a single token's norm itself, unless its sum goes where the residual was.
TEST_P(AddRmsNormTest, ANormOnTheWayToAProductChangesNoBit) {
  for (const ProductShape& s : ProductShapes(act())) {
    NormsAndProducts steps(device(), s.rows, s.columns);
    for (const std::int64_t tokens : {1, 2, 3}) {
      for (const bool adds : {true, false}) {
        const std::vector<float> want = steps.Run(tokens, true, adds);
        EXPECT_TRUE(SameBits(steps.Run(tokens, false, adds), want))
            << s.rows << "x" << s.columns << ", " << tokens << " tokens";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, RmsNormTest, testing::ValuesIn(TestedDevices()), DeviceName);
INSTANTIATE_TEST_SUITE_P(Devices, AddRmsNormTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
