#include <gtest/gtest.h>

#include <cmath>

#include "tests/worker/kernels/op_testing.h"

namespace thinkwire::worker::kernels {
namespace {

struct Shape {
  std::int64_t tokens;
  std::int64_t in;
  std::int64_t out;
};

const Shape kShapes[] = {{1, 1, 1},   {1, 32, 8},   {2, 31, 7},    {3, 33, 9},  {4, 64, 16},
                         {5, 100, 3}, {97, 48, 25}, {1, 1536, 40}, {7, 257, 65}};

struct Linears {
  std::vector<float> weights;
  std::vector<float> x;

  explicit Linears(const Shape& s)
      : weights(RandomBf16Floats(s.out * s.in, 1)), x(RandomFloats(s.tokens * s.in, 3)) {}
};

std::vector<float> RunLinear(CpuBackend& backend, const Shape& s, const Linears& l,
                             std::int64_t first, std::int64_t tokens) {
  const std::vector<WeightSlice> parts = {SliceOf(l.weights, s.out, s.in)};
  const auto weight = backend.MakeLinear(parts, {}, LinearLayout::kPlain);
  const F32 x({tokens, s.in}, DType::kF32,
              {l.x.begin() + first * s.in, l.x.begin() + (first + tokens) * s.in});
  F32 out({tokens, s.out}, DType::kF32);
  backend.Linear(x.tensor, *weight, out.tensor);
  return out.values;
}

TEST(Linear, EqualsDoublePrecision) {
  CpuBackend backend(2);
  for (const Shape& s : kShapes) {
    const Linears l(s);
    const std::vector<float> out = RunLinear(backend, s, l, 0, s.tokens);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t o = 0; o < s.out; ++o) {
        double sum = 0;
        double magnitude = 0;
        for (std::int64_t i = 0; i < s.in; ++i) {
          const double product = static_cast<double>(l.x[static_cast<std::size_t>(t * s.in + i)]) *
                                 l.weights[static_cast<std::size_t>(o * s.in + i)];
          sum += product;
          magnitude += std::fabs(product);
        }
        ASSERT_NEAR(out[static_cast<std::size_t>(t * s.out + o)], sum,
                    Tolerance::kLinear * magnitude)
            << s.tokens << "x" << s.in << "x" << s.out << " at " << t << ", " << o;
      }
    }
  }
}

TEST(Linear, SameBitsOnEveryInstructionSetAndThreadCount) {
  for (const Shape& s : kShapes) {
    const Linears l(s);
    CpuBackend reference(1, Isa::kPortable);
    const std::vector<float> expected = RunLinear(reference, s, l, 0, s.tokens);
    for (const BackendCase& c : BackendCases()) {
      CpuBackend backend(c.threads, c.isa);
      EXPECT_TRUE(SameBits(RunLinear(backend, s, l, 0, s.tokens), expected)) << NameOf(c);
    }
  }
}

TEST(Linear, ATokenAloneHasTheBitsItHasAmongOthers) {
  for (const BackendCase& c : BackendCases()) {
    CpuBackend backend(c.threads, c.isa);
    const Shape s = {101, 257, 41};
    const Linears l(s);
    const std::vector<float> all = RunLinear(backend, s, l, 0, s.tokens);
    for (const std::int64_t chunk : {1, 2, 5, 64}) {
      std::vector<float> pieces;
      for (std::int64_t t = 0; t < s.tokens; t += chunk) {
        const auto piece = RunLinear(backend, s, l, t, std::min(chunk, s.tokens - t));
        pieces.insert(pieces.end(), piece.begin(), piece.end());
      }
      EXPECT_TRUE(SameBits(pieces, all)) << NameOf(c) << " chunk " << chunk;
    }
  }
}

TEST(Linear, StacksPartsOfAnyTypeAndStride) {
  CpuBackend backend(2);
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
  const auto weight = backend.MakeLinear(parts, {}, LinearLayout::kPlain);
  EXPECT_EQ(weight->out_features(), 9);
  EXPECT_EQ(weight->in_features(), in);
  std::vector<float> one_hot(static_cast<std::size_t>(in * in));
  for (std::int64_t i = 0; i < in; ++i) one_hot[static_cast<std::size_t>(i * in + i)] = 1.0F;
  const F32 x({in, in}, DType::kF32, one_hot);
  F32 out({in, 9}, DType::kF32);
  backend.LmHead(x.tensor, *weight, out.tensor);
  for (std::int64_t i = 0; i < in; ++i) {
    for (std::int64_t o = 0; o < 9; ++o) {
      EXPECT_EQ(out[i * 9 + o], values[static_cast<std::size_t>(o * 50 + 10 + i)]);
    }
  }
}

TEST(LinearDeathTest, ABiasIsForQkvAlone) {
  const std::vector<float> values(64, 1.0F);
  const std::vector<WeightSlice> parts = {SliceOf(values, 8, 4), SliceOf(values, 8, 4)};
  const std::vector<WeightSlice> bias = {SliceOf(values, 16, 1)};
  for (const LinearLayout layout : {LinearLayout::kPlain, LinearLayout::kGateUp}) {
    EXPECT_DEATH(CpuBackend(1).MakeLinear(parts, bias, layout), "only a QKV weight has a bias");
  }
  EXPECT_EQ(CpuBackend(1).MakeLinear(parts, bias, LinearLayout::kQkv)->out_features(), 16);
}

std::vector<float> RunSwiGlu(CpuBackend& backend, const Shape& s, const Linears& l) {
  const std::int64_t ffn = s.out;
  const std::vector<float> up = RandomBf16Floats(ffn * s.in, 9);
  const std::vector<WeightSlice> parts = {SliceOf(l.weights, ffn, s.in), SliceOf(up, ffn, s.in)};
  const auto weight = backend.MakeLinear(parts, {}, LinearLayout::kGateUp);
  const F32 x({s.tokens, s.in}, DType::kF32, l.x);
  F32 out({s.tokens, ffn}, DType::kF32);
  backend.GateUpSwiGlu(x.tensor, *weight, out.tensor);
  return out.values;
}

TEST(GateUpSwiGlu, EqualsDoublePrecision) {
  CpuBackend backend(2);
  for (const Shape& s : kShapes) {
    const Linears l(s);
    const std::vector<float> up = RandomBf16Floats(s.out * s.in, 9);
    const std::vector<float> out = RunSwiGlu(backend, s, l);
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      for (std::int64_t o = 0; o < s.out; ++o) {
        double g = 0;
        double u = 0;
        double g_magnitude = 0;
        double u_magnitude = 0;
        for (std::int64_t i = 0; i < s.in; ++i) {
          const double x = l.x[static_cast<std::size_t>(t * s.in + i)];
          g += x * l.weights[static_cast<std::size_t>(o * s.in + i)];
          u += x * up[static_cast<std::size_t>(o * s.in + i)];
          g_magnitude += std::fabs(x * l.weights[static_cast<std::size_t>(o * s.in + i)]);
          u_magnitude += std::fabs(x * up[static_cast<std::size_t>(o * s.in + i)]);
        }
        ASSERT_NEAR(out[static_cast<std::size_t>(t * s.out + o)], g / (1 + std::exp(-g)) * u,
                    Tolerance::kSwiGlu * (1 + g_magnitude) * (1 + u_magnitude));
      }
    }
  }
}

TEST(GateUpSwiGlu, SameBitsOnEveryInstructionSetAndThreadCount) {
  for (const Shape& s : kShapes) {
    const Linears l(s);
    CpuBackend reference(1, Isa::kPortable);
    const std::vector<float> expected = RunSwiGlu(reference, s, l);
    for (const BackendCase& c : BackendCases()) {
      CpuBackend backend(c.threads, c.isa);
      EXPECT_TRUE(SameBits(RunSwiGlu(backend, s, l), expected)) << NameOf(c);
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
