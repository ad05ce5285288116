#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/worker/kernels/op_testing.h"
#include "tests/worker/kernels/paged_layer.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/cuda/cuda_backend.h"
#include "worker/kernels/e4m3.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/write_group_block.h"

// Weights in FP8 by inputs that are rounded to FP8: the host's rule in double precision, and the
// same bits for a token in every company.
namespace thinkwire::worker::kernels {
namespace {

struct Host {};  // e4m3.h's rules on the host

// Rows that end within a tile and columns within a stage; of few tiles and of many.
struct Shape {
  std::int64_t in;
  std::int64_t out;
};
constexpr Shape kShapes[] = {{128, 24}, {640, 272}, {1536, 2048}, {8960, 1536}, {768, 17920}};
constexpr std::int64_t kMost = 700;  // tokens
constexpr std::int64_t kTokens[] = {1,  2,  7,   8,   9,   16,  17,  33,
                                    64, 65, 100, 128, 129, 257, 512, 699};

// A matrix in FP8. Scales are powers of two, so that its weights are numbers of bf16 too.
struct Matrix {
  Shape shape;
  std::vector<std::byte> bytes;

  explicit Matrix(const Shape& s, std::uint32_t seed = 1)
      : shape(s), bytes(static_cast<std::size_t>(BytesOf(Encoding::kFp8, s.in * s.out))) {
    std::mt19937 random(seed);
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(kFp8Columns));
    auto* to = reinterpret_cast<char*>(bytes.data());
    for (std::int64_t i = 0; i < s.in * s.out / kFp8Columns; ++i, to += kFp8PackedBytes) {
      for (std::uint8_t& code : codes) {
        code = static_cast<std::uint8_t>(random() % 0x7F | random() % 2 << 7);
      }
      WriteGroupBlock(Encoding::kFp8, codes, 0,
                      std::ldexp(1.0F, -14 - static_cast<int>(random() % 3)), to);
    }
  }

  WeightSlice slice() const {
    return {.data = bytes.data(),
            .encoding = Encoding::kFp8,
            .rows = shape.out,
            .cols = shape.in,
            .row_stride = shape.in};
  }
  // Row-major.
  std::vector<float> Values() const {
    std::vector<float> values;
    std::vector<std::uint16_t> row(static_cast<std::size_t>(shape.in));
    const WeightSlice all = slice();
    for (std::int64_t r = 0; r < shape.out; ++r) {
      ConvertRow({&all, r}, row.data());
      for (const std::uint16_t value : row) values.push_back(F32FromBf16(value));
    }
    return values;
  }
};

// Rows of e4m3's numbers, each with 448 among them: rounding them changes nothing.
std::vector<float> Representable(std::int64_t tokens, std::int64_t in) {
  std::mt19937 random(3);
  std::vector<float> values(static_cast<std::size_t>(tokens * in));
  for (float& value : values) {
    value = FloatFromE4m3<Host>(static_cast<std::uint8_t>(random() % 0x7F | random() % 2 << 7));
  }
  for (std::int64_t t = 0; t < tokens; ++t) values[static_cast<std::size_t>(t * in + t % in)] = 448;
  return values;
}

// As quantize_rows.h says, in the codes' numbers, and the row's scale.
float RoundRow(const float* x, std::int64_t in, std::vector<float>& codes) {
  float most = 0x1p-100F;
  for (std::int64_t c = 0; c < in; ++c) most = std::max(most, std::abs(x[c]));
  codes.resize(static_cast<std::size_t>(in));
  for (std::int64_t c = 0; c < in; ++c) {
    codes[static_cast<std::size_t>(c)] =
        FloatFromE4m3<Host>(E4m3FromFloat<Host>(x[c] * (448.0F / most)));
  }
  return most / 448.0F;
}

double RootMeanSquare(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += double{value} * value;
  return std::sqrt(sum / static_cast<double>(values.size()));
}

// Sums of part of K are cut off below 13 bits of their greatest, results rounded to bf16.
void ExpectNear(const std::vector<float>& got, const std::vector<float>& want, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  const double beside = 0.02 * RootMeanSquare(want);
  EXPECT_GT(beside, 0);
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], beside + 0.02 * std::abs(want[i])) << what << ", element " << i;
  }
}

using Op = void (Backend::*)(const Tensor& x, const LinearWeight& weight, const Tensor& out);

class Fp8InputsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string why;
    if (Open(TestedDevices().front(), &why) == nullptr) GTEST_SKIP() << why;
    device_ = std::make_unique<CudaBackend>(0, 0, true);
    if (device_->capabilities().name.find("-fp8_inputs") == std::string::npos) {
      GTEST_SKIP() << "a GPU that multiplies FP8";
    }
    unrounded_ = std::make_unique<CudaBackend>(0);
  }

  static std::vector<float> Apply(Backend& backend, const LinearWeight& weight, Op op,
                                  const std::vector<float>& x, std::int64_t tokens,
                                  std::int64_t width, DType type) {
    const DeviceFloats in =
        Act(backend, {tokens, weight.in_features()}, RowsOf(x, weight.in_features(), 0, tokens));
    const DeviceFloats out(backend, type, {tokens, width});
    (backend.*op)(in.tensor(), weight, out.tensor());
    return out.Read();
  }

  void ExpectSameBitsInEveryCompany(const std::vector<WeightSlice>& parts, LinearLayout layout,
                                    Op op, std::int64_t width, DType type) {
    const auto weight = device_->MakeLinear(parts, {}, layout);
    const std::vector<float> x = RandomBf16Floats(kMost * parts[0].cols, 5);
    const std::vector<float> many = Apply(*device_, *weight, op, x, kMost, width, type);
    for (const std::int64_t tokens : kTokens) {
      EXPECT_TRUE(StartsWith(many, Apply(*device_, *weight, op, x, tokens, width, type)))
          << tokens << " tokens, " << parts[0].cols << " to " << weight->out_features();
    }
  }

  std::unique_ptr<Backend> device_;
  std::unique_ptr<Backend> unrounded_;
};

TEST_F(Fp8InputsTest, ATokensBitsDoNotDependOnItsCompany) {
  for (const Shape& shape : kShapes) {
    const Matrix matrix(shape);
    ExpectSameBitsInEveryCompany({matrix.slice()}, LinearLayout::kPlain, &Backend::Linear,
                                 shape.out, DType::kBf16);
    ExpectSameBitsInEveryCompany({matrix.slice()}, LinearLayout::kPlain, &Backend::LmHead,
                                 shape.out, DType::kF32);
    const Matrix up(shape, 2);
    ExpectSameBitsInEveryCompany({matrix.slice(), up.slice()}, LinearLayout::kGateUp,
                                 &Backend::GateUpSwiGlu, shape.out, DType::kBf16);
  }
}

TEST_F(Fp8InputsTest, AProductIsTheHostsRule) {
  constexpr std::int64_t kFew = 3;
  for (const Shape& shape : {Shape{128, 24}, Shape{640, 272}, Shape{8960, 64}}) {
    const Matrix matrix(shape);
    const std::vector<float> w = matrix.Values();
    const std::vector<float> x = RandomBf16Floats(kFew * shape.in, 7);
    std::vector<float> want;
    std::vector<float> codes;
    for (std::int64_t t = 0; t < kFew; ++t) {
      const float scale = RoundRow(x.data() + t * shape.in, shape.in, codes);
      for (std::int64_t r = 0; r < shape.out; ++r) {
        double sum = 0;
        for (std::int64_t c = 0; c < shape.in; ++c) {
          sum += double{codes[static_cast<std::size_t>(c)]} *
                 w[static_cast<std::size_t>(r * shape.in + c)];
        }
        want.push_back(static_cast<float>(sum * scale));
      }
    }
    const WeightSlice slice = matrix.slice();
    const auto weight = device_->MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
    ExpectNear(Apply(*device_, *weight, &Backend::LmHead, x, kFew, shape.out, DType::kF32), want,
               "logits");
  }
}

// What needs no rounding gives what weights in FP8 give that are multiplied as bf16.
TEST_F(Fp8InputsTest, InputsThatAreFp8GiveWhatTheyGiveInBf16) {
  constexpr std::int64_t kSome = 130;
  for (const Shape& shape : kShapes) {
    const Matrix gate(shape);
    const Matrix up(shape, 2);
    const std::vector<WeightSlice> parts = {gate.slice(), up.slice()};
    const std::vector<float> x = Representable(kSome, shape.in);
    const auto plain = device_->MakeLinear(parts, {}, LinearLayout::kPlain);
    const auto twin = unrounded_->MakeLinear(parts, {}, LinearLayout::kPlain);
    ExpectNear(Apply(*device_, *plain, &Backend::Linear, x, kSome, 2 * shape.out, DType::kBf16),
               Apply(*unrounded_, *twin, &Backend::Linear, x, kSome, 2 * shape.out, DType::kBf16),
               "a plain product");
    const auto gates = device_->MakeLinear(parts, {}, LinearLayout::kGateUp);
    const auto gates_twin = unrounded_->MakeLinear(parts, {}, LinearLayout::kGateUp);
    ExpectNear(
        Apply(*device_, *gates, &Backend::GateUpSwiGlu, x, kSome, shape.out, DType::kBf16),
        Apply(*unrounded_, *gates_twin, &Backend::GateUpSwiGlu, x, kSome, shape.out, DType::kBf16),
        "gates and ups");
  }
}

// Queries alone: keys and values take the same way.
TEST_F(Fp8InputsTest, QueriesAreWhatTheyAreInBf16) {
  constexpr int kHeads = 6;
  constexpr int kKvHeads = 2;
  constexpr int kBlock = 16;
  constexpr std::int64_t kIn = 1536;
  const Matrix matrix({kIn, (kHeads + 2 * kKvHeads) * 128});
  const WeightSlice slice = matrix.slice();
  const std::vector<float> bias = RandomBf16Floats(matrix.shape.out, 9);
  const WeightSlice bias_slice = SliceOf(bias, matrix.shape.out, 1);
  for (const int tokens : {1, 9, 40, 140}) {
    std::vector<std::int32_t> positions;
    std::vector<std::int32_t> seqs;
    for (int t = 0; t < tokens; ++t) {
      positions.push_back(t);
      seqs.push_back(t % 7 == 5 ? -1 : 0);
    }
    std::vector<std::int32_t> blocks;
    for (int b = 0; b < 16; ++b) blocks.push_back(b);
    const std::vector<float> x = Representable(tokens, kIn);
    std::vector<std::vector<float>> queries;
    for (Backend* const backend : {device_.get(), unrounded_.get()}) {
      const auto weight = backend->MakeLinear({&slice, 1}, {&bias_slice, 1}, LinearLayout::kQkv);
      const DeviceBatch batch(*backend, positions, seqs, {}, {0}, blocks, 16);
      const DeviceFloats in = Act(*backend, {tokens, kIn}, x);
      const DeviceFloats rope(*backend, DType::kF32, {256, 128}, RopeTable(256, 128));
      const DeviceFloats keys(*backend, DType::kBf16, {16, kKvHeads * kBlock * 128});
      const DeviceFloats values(*backend, DType::kBf16, {16, kKvHeads * kBlock * 128});
      const DeviceFloats q(*backend, DType::kBf16, {tokens, kHeads, 128},
                           std::vector<float>(static_cast<std::size_t>(tokens * kHeads * 128)));
      backend->QkvRopeWriteKv(in.tensor(), *weight, rope.tensor(), batch.view(),
                              {.planes = {keys.tensor(), values.tensor()},
                               .num_kv_heads = kKvHeads,
                               .block_tokens = kBlock,
                               .head_dim = 128},
                              q.tensor());
      queries.push_back(q.Read());
    }
    ExpectNear(queries[0], queries[1], "queries");
  }
}

TEST_F(Fp8InputsTest, ARowThatIsNotFiniteShowsItAndNoOtherDoes) {
  const Matrix matrix({640, 272});
  const WeightSlice slice = matrix.slice();
  const auto weight = device_->MakeLinear({&slice, 1}, {}, LinearLayout::kPlain);
  std::vector<float> x = RandomBf16Floats(20 * 640, 11);
  x[3 * 640 + 17] = std::numeric_limits<float>::quiet_NaN();
  x[5 * 640 + 600] = -std::numeric_limits<float>::infinity();
  for (int c = 0; c < 640; ++c) x[static_cast<std::size_t>(7 * 640 + c)] = 0;
  const std::vector<float> out =
      Apply(*device_, *weight, &Backend::LmHead, x, 20, 272, DType::kF32);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t token = i / 272;
    EXPECT_EQ(std::isfinite(out[i]), token != 3 && token != 5) << "token " << token;
    EXPECT_TRUE(token != 7 || out[i] == 0);
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
