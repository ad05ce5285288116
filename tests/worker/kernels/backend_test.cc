#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/devices.h"

namespace thinkwire::worker::kernels {
namespace {

TEST(OpenDevices, OpensOneBackendARank) {
  std::string error;
  for (const char* device : {"auto", "cpu"}) {
    const auto backends = OpenDevices({.device = device, .ranks = 3, .cpu_threads = 4}, &error);
    ASSERT_EQ(backends.size(), 3U);
    EXPECT_EQ(error, "");
    EXPECT_NE(backends[0]->capabilities().name.find("2 threads"), std::string::npos);
    EXPECT_NE(backends[2]->capabilities().name.find("1 thread"), std::string::npos);
  }
}

TEST(OpenDevices, SaysWhyThereIsNone) {
  for (const DeviceConfig& config :
       {DeviceConfig{.device = "cuda"}, DeviceConfig{.device = "tpu"}, DeviceConfig{.ranks = 0}}) {
    std::string error;
    EXPECT_TRUE(OpenDevices(config, &error).empty());
    EXPECT_NE(error, "");
  }
}

TEST(CpuBackend, AllocatesZeroedMemoryOfAnySize) {
  CpuBackend backend(1);
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{4097}, std::size_t{17} << 20}) {
    const Buffer buffer = backend.Allocate(bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    const auto* data = static_cast<const unsigned char*>(buffer.data());
    for (std::size_t i = 0; i < bytes; ++i) ASSERT_EQ(data[i], 0);
  }
}

TEST(Convert, Bf16RoundsToNearestEven) {
  EXPECT_EQ(Bf16FromF32(1.0F), 0x3F80);
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3F808000U)), 0x3F80);  // tie: down to even
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3F818000U)), 0x3F82);  // tie: up to even
  EXPECT_EQ(Bf16FromF32(std::bit_cast<float>(0x3F808001U)), 0x3F81);
  EXPECT_EQ(Bf16FromF32(-std::numeric_limits<float>::infinity()), 0xFF80);
  EXPECT_TRUE(std::isnan(F32FromBf16(Bf16FromF32(std::bit_cast<float>(0x7F800001U)))));
}

TEST(Convert, F16IsWidenedExactly) {
  EXPECT_EQ(F32FromF16(0x3C00), 1.0F);
  EXPECT_EQ(F32FromF16(0xC500), -5.0F);
  EXPECT_EQ(F32FromF16(0x0001), 0x1p-24F);
  EXPECT_EQ(F32FromF16(0x83FF), -1023 * 0x1p-24F);
  EXPECT_EQ(F32FromF16(0x7BFF), 65504.0F);
  EXPECT_EQ(F32FromF16(0x7C00), std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(F32FromF16(0x7E00)));
}

TEST(Embed, WidensTheRowOfEachId) {
  CpuBackend backend(2);
  for (const std::int64_t width : {1, 16, 37}) {
    const std::vector<float> values = RandomBf16Floats(10 * width, 1);
    const Buffer table = backend.MakeTable(SliceOf(values, 10, width));
    const I32 ids({4}, DType::kI32, {9, 0, 3, 9});
    F32 out({4, width}, DType::kF32);
    backend.Embed(ids.tensor, MakeTensor(table.data(), DType::kBf16, 10, width), out.tensor);
    for (std::int64_t t = 0; t < 4; ++t) {
      for (std::int64_t i = 0; i < width; ++i) {
        EXPECT_EQ(out[t * width + i], values[static_cast<std::size_t>(ids[t] * width + i)]);
      }
    }
  }
}

TEST(GatherInputIds, TakesTheGivenOrTheLastSampledId) {
  CpuBackend backend(1);
  const I32 given({4}, DType::kI32, {5, 6, 7, 8});
  const I32 source({4}, DType::kI32, {-1, 1, -1, 0});
  const I32 last({2}, DType::kI32, {100, 101});
  I32 ids({4}, DType::kI32);
  backend.GatherInputIds(given.tensor, source.tensor, last.tensor, ids.tensor);
  EXPECT_EQ(ids.values, (std::vector<std::int32_t>{5, 101, 7, 100}));
}

TEST(GatherRows, CopiesRows) {
  CpuBackend backend(1);
  const F32 x({3, 2}, DType::kF32, {0, 1, 2, 3, 4, 5});
  const I32 rows({2}, DType::kI32, {2, 0});
  F32 out({2, 2}, DType::kF32);
  backend.GatherRows(x.tensor, rows.tensor, out.tensor);
  EXPECT_EQ(out.values, (std::vector<float>{4, 5, 0, 1}));
}

TEST(RowKernels, ExpIsAccurateAndTheSameOnEveryInstructionSet) {
  std::vector<float> x = {0.0F,
                          -0.0F,
                          1.0F,
                          -1.0F,
                          -86.9F,
                          87.9F,
                          -87.1F,
                          -1000.0F,
                          -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()};
  for (const float value : RandomFloats(1000, 7, 20.0F)) x.push_back(value);
  const auto n = static_cast<std::int64_t>(x.size());
  std::vector<float> expected(x.size());
  RowKernelsFor(Isa::kPortable).exp_minus(x.data(), 0.0F, expected.data(), n);
  EXPECT_EQ(expected[0], 1.0F);
  EXPECT_EQ(expected[7], 0.0F);
  EXPECT_EQ(expected[8], 0.0F);
  EXPECT_TRUE(std::isnan(expected[9]));
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (!(x[i] > -87.0F && x[i] < 88.0F)) continue;
    EXPECT_NEAR(expected[i] / std::exp(static_cast<double>(x[i])), 1.0, 2e-7) << x[i];
  }
  for (const Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (!IsSupported(isa)) continue;
    std::vector<float> y(x.size());
    RowKernelsFor(isa).exp_minus(x.data(), 0.0F, y.data(), n);
    EXPECT_TRUE(SameBits({y.begin(), y.begin() + 9}, {expected.begin(), expected.begin() + 9}));
    EXPECT_TRUE(SameBits({y.begin() + 10, y.end()}, {expected.begin() + 10, expected.end()}));
    EXPECT_TRUE(std::isnan(y[9]));
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
