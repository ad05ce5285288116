#include "tests/worker/kernels/op_testing.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "worker/kernels/convert.h"
#include "worker/kernels/devices.h"
#include "worker/kernels/e4m3.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::kernels {
namespace {

// A step of bf16: what one rounding to nearest, or two of half a step, may take away.
constexpr double kStep = 1.0 / 256;

struct OpTolerance {
  Op op;
  Tolerance f32;
  Tolerance bf16;
};

// In f32 a result is its twin's, bit for bit. In bf16 it is rounded once, or computed from what was
// rounded before; sums in f32 over tensor cores keep fewer bits than ours.
constexpr std::array kTolerances = {
    OpTolerance{Op::kLinear, {2e-6, 0, 0}, {kStep, kStep, 0.01 * kStep}},
    OpTolerance{Op::kLmHead, {2e-6, 0, 0}, {1e-4, 1e-4, 1e-4}},
    OpTolerance{Op::kSwiGlu, {4e-6, 0, 0}, {kStep, kStep, 0.02 * kStep}},
    OpTolerance{Op::kResidualSum, {0, 0, 0}, {kStep, kStep, 1e-3 * kStep}},
    OpTolerance{Op::kNorm, {1e-6, 0, 0}, {2 * kStep, 2 * kStep, 0.02 * kStep}},
    OpTolerance{Op::kQkv, {4e-6, 0, 0}, {0, 0, 0.06}},
    // bf16: half a step each for the weights, for their sum, which is of the rounded ones, and for
    // the result.
    OpTolerance{Op::kAttention, {4e-6, 0, 0}, {1.5 * kStep, 0, 0}},
    OpTolerance{Op::kLogprob, {4e-6, 0, 0}, {4e-6, 0, 0}},
};

constexpr std::uint32_t kPoison = 0x7FC17FC1U;  // a NaN as f32, and two as bf16 or e4m3

testing::AssertionResult Differs(std::size_t i, float got, float want) {
  return testing::AssertionFailure() << "element " << i << " is " << got << " instead of " << want;
}

}  // namespace

std::string DeviceName(const testing::TestParamInfo<TestedDevice>& info) { return info.param.name; }

std::unique_ptr<Backend> Open(const TestedDevice& device, std::string* why_none) {
  auto backends = OpenDevices({.device = device.name, .ranks = 1, .cpu_threads = 2}, why_none);
  return backends.empty() ? nullptr : std::move(backends.front());
}

void OpTest::SetUp() {
  std::string why_none;
  device_ = Open(GetParam(), &why_none);
  if (device_ == nullptr) GTEST_SKIP() << why_none;
  twin_ = GetParam().twin();
}

const Tolerance& ToleranceOf(Op op, DType activation) {
  const OpTolerance& of = kTolerances[static_cast<std::size_t>(op)];
  EXPECT_EQ(of.op, op) << "the table is in the order of Op";
  return activation == DType::kF32 ? of.f32 : of.bf16;
}

testing::AssertionResult IsLikeTwin(Op op, DType activation, const std::vector<float>& got,
                                    const std::vector<float>& twin) {
  const Tolerance& tolerance = ToleranceOf(op, activation);
  if (tolerance.of_twin == 0 && tolerance.beside == 0) return SameBits(got, twin);
  if (got.size() != twin.size()) return testing::AssertionFailure() << "another size";
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double want = twin[i];
    if (!(std::abs(got[i] - want) <= tolerance.FromTwin(want))) return Differs(i, got[i], twin[i]);
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult SameBits(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return testing::AssertionFailure() << "another size";
  return StartsWith(want, got);
}

testing::AssertionResult StartsWith(const std::vector<float>& many, const std::vector<float>& few) {
  if (few.size() > many.size()) return testing::AssertionFailure() << "not as many";
  for (std::size_t i = 0; i < few.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(many[i]) != std::bit_cast<std::uint32_t>(few[i])) {
      return Differs(i, few[i], many[i]);
    }
  }
  return testing::AssertionSuccess();
}

void DeviceFloats::Allocate(DType dtype, std::initializer_list<std::int64_t> dims) {
  tensor_.dtype = dtype;
  tensor_.rank = static_cast<int>(dims.size());
  std::copy(dims.begin(), dims.end(), tensor_.dims.begin());
  buffer_ = backend_.Allocate(tensor_.bytes());
  tensor_.data = buffer_.data();
}

DeviceFloats::DeviceFloats(Backend& backend, DType dtype, std::initializer_list<std::int64_t> dims,
                           const std::vector<float>& values)
    : backend_(backend) {
  Allocate(dtype, dims);
  EXPECT_EQ(static_cast<std::int64_t>(values.size()), tensor_.size());
  const std::vector<std::uint16_t> halves =
      dtype == DType::kF32 ? std::vector<std::uint16_t>() : ToBf16(values);
  const void* const from = dtype == DType::kF32 ? static_cast<const void*>(values.data())
                                                : static_cast<const void*>(halves.data());
  backend_.CopyToDevice(tensor_.data, from, tensor_.bytes());
  backend_.Synchronize();
}

DeviceFloats::DeviceFloats(Backend& backend, DType dtype, std::initializer_list<std::int64_t> dims)
    : backend_(backend) {
  Allocate(dtype, dims);
  const std::vector<std::uint32_t> poison((tensor_.bytes() + 3) / 4, kPoison);
  backend_.CopyToDevice(tensor_.data, poison.data(), tensor_.bytes());
  backend_.Synchronize();
}

std::vector<float> DeviceFloats::Read() const {
  std::vector<float> values(static_cast<std::size_t>(tensor_.size()));
  if (tensor_.dtype == DType::kE4m3) {
    std::vector<std::uint8_t> codes(values.size());
    backend_.CopyToHost(codes.data(), tensor_.data, tensor_.bytes());
    backend_.Synchronize();
    for (std::size_t i = 0; i < codes.size(); ++i) values[i] = FloatFromE4m3<void>(codes[i]);
    return values;
  }
  std::vector<std::uint16_t> halves(tensor_.dtype == DType::kF32 ? 0 : values.size());
  void* const to = halves.empty() ? static_cast<void*>(values.data()) : halves.data();
  backend_.CopyToHost(to, tensor_.data, tensor_.bytes());
  backend_.Synchronize();
  for (std::size_t i = 0; i < halves.size(); ++i) values[i] = F32FromBf16(halves[i]);
  return values;
}

DeviceFloats Act(Backend& backend, std::initializer_list<std::int64_t> dims,
                 const std::vector<float>& values) {
  return {backend, backend.capabilities().activation, dims, values};
}

DeviceFloats PoisonedAct(Backend& backend, std::initializer_list<std::int64_t> dims) {
  return {backend, backend.capabilities().activation, dims};
}

std::vector<float> RandomFloats(std::int64_t n, std::uint32_t seed, float scale) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<float> x(static_cast<std::size_t>(n));
  for (float& value : x) value = normal(engine);
  return x;
}

std::vector<float> RandomBf16Floats(std::int64_t n, std::uint32_t seed, float scale) {
  std::vector<float> x = RandomFloats(n, seed, scale);
  for (float& value : x) value = F32FromBf16(Bf16FromF32(value));
  return x;
}

std::vector<float> RandomActs(DType activation, std::int64_t n, std::uint32_t seed, float scale) {
  return activation == DType::kF32 ? RandomFloats(n, seed, scale)
                                   : RandomBf16Floats(n, seed, scale);
}

std::vector<std::uint16_t> ToBf16(const std::vector<float>& x) {
  std::vector<std::uint16_t> y;
  for (const float value : x) y.push_back(Bf16FromF32(value));
  return y;
}

std::vector<float> RowsOf(const std::vector<float>& x, std::int64_t width, std::int64_t first,
                          std::int64_t count) {
  return {x.begin() + first * width, x.begin() + (first + count) * width};
}

WeightSlice SliceOf(const std::vector<float>& x, std::int64_t rows, std::int64_t cols) {
  return {
      .data = x.data(), .encoding = Encoding::kF32, .rows = rows, .cols = cols, .row_stride = cols};
}

PackedMatrix::PackedMatrix(std::int64_t rows, std::int64_t cols, std::uint32_t seed, float scale)
    : rows_(rows), cols_(cols) {
  std::mt19937 random(seed);
  for (std::int64_t block = 0; block < rows * cols / kInt4Columns; ++block) {
    for (int i = 0; i < kInt4Columns / 2; ++i) blocks_.push_back(static_cast<char>(random()));
    const float spread = 1.0F + static_cast<float>(random() % 1024) / 1024.0F;
    const std::uint32_t word = Int4ScaleWord(scale * spread, random() % 17);
    const auto* const bytes = reinterpret_cast<const char*>(&word);
    blocks_.insert(blocks_.end(), bytes, bytes + sizeof(word));
  }
  std::vector<std::uint16_t> row(static_cast<std::size_t>(cols));
  const WeightSlice slice = packed();
  for (std::int64_t r = 0; r < rows; ++r) {
    ConvertRow({&slice, r}, row.data());
    for (const std::uint16_t value : row) values_.push_back(F32FromBf16(value));
  }
}

WeightSlice PackedMatrix::packed() const {
  return {.data = blocks_.data(),
          .encoding = Encoding::kInt4,
          .rows = rows_,
          .cols = cols_,
          .row_stride = cols_};
}

}  // namespace thinkwire::worker::kernels
