#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/stacked_rows.h"

// Products with weights of 4 bits: the bits of the same weights in bf16, in every company.
namespace thinkwire::worker::kernels {
namespace {

struct Shape {
  std::int64_t in;
  std::int64_t out;
};

// Rows that end within a tile of 32 or 64, rings of an H200's products that go round more than
// once, and so few and so many rows that each of its tilings and shapes is met.
std::vector<Shape> Shapes(DType activation) {
  if (activation == DType::kF32) return {{128, 24}, {384, 48}};
  return {{128, 16},   {384, 200},   {1152, 2112},  {1152, 4616},
          {384, 8520}, {8960, 1536}, {1536, 17920}, {128, 43008}};
}

std::vector<std::int64_t> Tokens(DType activation) {
  if (activation == DType::kF32) return {1, 2, 9};
  return {1, 2, 7, 8, 9, 16, 17, 32, 33, 63, 64, 65, 130, 257};
}

using Op = void (Backend::*)(const Tensor& x, const LinearWeight& weight, const Tensor& out);

// What `op` makes of the first `tokens` rows of x [any, weight's columns].
std::vector<float> ResultOf(Backend& backend, Op op, const LinearWeight& weight,
                            const std::vector<float>& x, std::int64_t tokens,
                            std::int64_t out_columns, DType out_type) {
  const std::int64_t in = weight.in_features();
  const DeviceFloats input = Act(backend, {tokens, in}, RowsOf(x, in, 0, tokens));
  const DeviceFloats out(backend, out_type, {tokens, out_columns});
  (backend.*op)(input.tensor(), weight, out.tensor());
  return out.Read();
}

class Int4LinearTest : public OpTest {
 protected:
  // The same product by the packed weight and by its values, of every number of tokens.
  void ExpectSameBits(Op op, LinearLayout layout, const std::vector<const PackedMatrix*>& parts,
                      const Shape& shape, std::int64_t out_columns, DType out_type) {
    std::vector<WeightSlice> packed;
    std::vector<WeightSlice> dense;
    for (const PackedMatrix* part : parts) {
      packed.push_back(part->packed());
      dense.push_back(SliceOf(part->values(), shape.out, shape.in));
    }
    const auto packed_weight = device().MakeLinear(packed, {}, layout);
    const auto dense_weight = device().MakeLinear(dense, {}, layout);
    const std::vector<float> x = RandomActs(act(), Tokens(act()).back() * shape.in, 3);
    for (const std::int64_t tokens : Tokens(act())) {
      EXPECT_TRUE(SameBits(ResultOf(device(), op, *packed_weight, x, tokens, out_columns, out_type),
                           ResultOf(device(), op, *dense_weight, x, tokens, out_columns, out_type)))
          << tokens << " tokens, " << shape.in << " to " << shape.out;
    }
  }
};

TEST_P(Int4LinearTest, HasTheBitsOfItsValues) {
  for (const Shape& shape : Shapes(act())) {
    const PackedMatrix matrix(shape.out, shape.in, 1, 0.01F);
    ExpectSameBits(&Backend::Linear, LinearLayout::kPlain, {&matrix}, shape, shape.out, act());
    ExpectSameBits(&Backend::LmHead, LinearLayout::kPlain, {&matrix}, shape, shape.out,
                   DType::kF32);
  }
}

TEST_P(Int4LinearTest, GatesAndUpsHaveTheBitsOfTheirValues) {
  for (const Shape& shape : Shapes(act())) {
    const PackedMatrix gate(shape.out, shape.in, 1, 0.01F);
    const PackedMatrix up(shape.out, shape.in, 2, 0.01F);
    ExpectSameBits(&Backend::GateUpSwiGlu, LinearLayout::kGateUp, {&gate, &up}, shape, shape.out,
                   act());
  }
}

// Of many tokens: weights then take turns with memory in which they are bf16.
TEST_P(Int4LinearTest, OneAfterAnotherTheyHaveTheirOwnBits) {
  const std::int64_t size = act() == DType::kF32 ? 128 : 2048;
  const PackedMatrix matrices[] = {PackedMatrix(size, size, 1, 0.01F),
                                   PackedMatrix(size, size, 2, 0.01F)};
  const std::vector<float> x = RandomActs(act(), 130 * size, 3);
  for (const std::int64_t tokens : {65, 130}) {
    const DeviceFloats input = Act(device(), {tokens, size}, RowsOf(x, size, 0, tokens));
    std::vector<std::unique_ptr<LinearWeight>> weights;
    std::vector<std::vector<float>> expected;
    std::deque<DeviceFloats> outs;
    for (const PackedMatrix& matrix : matrices) {
      const WeightSlice packed = matrix.packed();
      const WeightSlice dense = SliceOf(matrix.values(), size, size);
      weights.push_back(device().MakeLinear({&packed, 1}, {}, LinearLayout::kPlain));
      const auto twin = device().MakeLinear({&dense, 1}, {}, LinearLayout::kPlain);
      expected.push_back(ResultOf(device(), &Backend::Linear, *twin, x, tokens, size, act()));
    }
    for (int i = 0; i < 8; ++i) {
      outs.emplace_back(device(), act(), std::initializer_list<std::int64_t>{tokens, size});
    }
    for (std::size_t i = 0; i < outs.size(); ++i) {
      device().Linear(input.tensor(), *weights[i % 2], outs[i].tensor());
    }
    for (std::size_t i = 0; i < outs.size(); ++i) {
      EXPECT_TRUE(SameBits(outs[i].Read(), expected[i % 2])) << tokens << " tokens, product " << i;
    }
  }
}

TEST_P(Int4LinearTest, TakesAQuarterOfTheMemory) {
  const PackedMatrix matrix(1024, 1024, 1);
  const WeightSlice packed = matrix.packed();
  const std::size_t bytes = device().MakeLinear({&packed, 1}, {}, LinearLayout::kPlain)->bytes();
  EXPECT_EQ(bytes, std::size_t{1024} * 1024 / kInt4Columns * kInt4PackedBytes);
}

TEST(Int4BlockTest, RoundsOnce) {
  char block[kInt4PackedBytes] = {};
  block[0] = '\x3F';                // column 0: 15, column 1: 3
  const float scale = 0x1.FFCp-3F;  // all bits of an f16
  const std::uint32_t word = Int4ScaleWord(scale, 8);
  std::memcpy(block + kInt4Columns / 2, &word, sizeof(word));
  EXPECT_EQ(Int4Block(block, 0).weight(0), 7 * scale);
  EXPECT_EQ(Int4Block(block, 0).weight(1), -5 * scale);
  EXPECT_EQ(Int4Block(block, 0).weight(2), -8 * scale);
  const WeightSlice slice = {.data = block,
                             .encoding = Encoding::kInt4,
                             .rows = 1,
                             .cols = kInt4Columns,
                             .row_stride = kInt4Columns};
  std::uint16_t row[kInt4Columns];
  ConvertRow({&slice, 0}, row);
  EXPECT_EQ(row[0], Bf16FromF32(7 * scale));
  EXPECT_EQ(row[1], Bf16FromF32(-5 * scale));
}

INSTANTIATE_TEST_SUITE_P(Devices, Int4LinearTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
