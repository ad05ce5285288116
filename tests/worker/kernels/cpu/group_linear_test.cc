#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/unpack_row.h"
#include "worker/kernels/write_group_block.h"

// Groups of AWQ's kind: what a block is worth, and products that have the bits of the same weights
// unpacked ahead.
namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kTokenCounts[] = {1, 2, 3, 4, 7, 100};

struct GroupFormat {
  Encoding encoding;
  int bits;
  const char* name;
};
constexpr GroupFormat kFormats[] = {
    {Encoding::kInt4, 4, "int4"},        {Encoding::kInt4G64, 4, "int4_g64"},
    {Encoding::kInt4G32, 4, "int4_g32"}, {Encoding::kInt8, 8, "int8"},
    {Encoding::kInt8G64, 8, "int8_g64"}, {Encoding::kInt8G32, 8, "int8_g32"},
    {Encoding::kFp8, 8, "fp8"}};

// By the definition: sign, exponent of bias 7, fraction of three bits.
float FromE4m3(std::uint8_t code) {
  const int exponent = code >> 3 & 15;
  const int fraction = code & 7;
  const float magnitude = exponent == 0
                              ? std::ldexp(static_cast<float>(fraction), -9)
                              : std::ldexp(static_cast<float>(8 + fraction), exponent - 10);
  return code < 128 ? magnitude : -magnitude;
}

// A random matrix in blocks, and the values that these are to have.
class GroupMatrix {
 public:
  GroupMatrix(const GroupFormat& format, std::int64_t rows, std::int64_t cols, std::uint32_t seed)
      : format_(format), rows_(rows), cols_(cols) {
    std::mt19937 random(seed);
    const BlockShape block = BlockOf(format.encoding);
    const bool is_e4m3 = format.encoding == Encoding::kFp8;
    std::vector<std::uint8_t> q(static_cast<std::size_t>(block.elements));
    bytes_.resize(static_cast<std::size_t>(BytesOf(format.encoding, rows * cols)));
    for (std::int64_t i = 0; i < rows * cols / block.elements; ++i) {
      for (std::uint8_t& number : q) {
        number = static_cast<std::uint8_t>(random() % (1U << format.bits));
        if (is_e4m3 && (number & 0x7FU) == 0x7FU) number = 0;
      }
      const std::uint32_t zero = random() % ((1U << format.bits) + 1);
      float scale = F32FromF16(static_cast<std::uint16_t>(0x1000U + random() % 0x1000U));
      if (is_e4m3) scale *= 1.0F + 0x1p-20F;  // more bits than f16 has
      WriteGroupBlock(format.encoding, q, zero, scale, bytes_.data() + i * block.bytes);
      for (const std::uint8_t number : q) {
        const float steps = static_cast<float>(number - static_cast<int>(zero));
        values_.push_back((is_e4m3 ? FromE4m3(number) : steps) * scale);
      }
    }
    for (const float value : values_) bf16_.push_back(Bf16FromF32(value));
  }

  const std::vector<float>& values() const { return values_; }
  const char* bytes() const { return bytes_.data(); }
  WeightSlice packed() const { return Slice(bytes_.data(), format_.encoding); }
  WeightSlice dense() const { return Slice(bf16_.data(), Encoding::kBf16); }

 private:
  WeightSlice Slice(const void* data, Encoding encoding) const {
    return {.data = data, .encoding = encoding, .rows = rows_, .cols = cols_, .row_stride = cols_};
  }

  const GroupFormat format_;
  const std::int64_t rows_;
  const std::int64_t cols_;
  std::vector<char> bytes_;
  std::vector<float> values_;
  std::vector<std::uint16_t> bf16_;
};

std::vector<float> Apply(Backend& backend, const LinearWeight& weight, std::int64_t tokens,
                         const std::vector<float>& x) {
  const std::int64_t in = weight.in_features();
  const DeviceFloats input = Act(backend, {tokens, in}, RowsOf(x, in, 0, tokens));
  const DeviceFloats out(backend, DType::kF32, {tokens, weight.out_features()});
  backend.Linear(input.tensor(), weight, out.tensor());
  return out.Read();
}

class GroupLinearTest : public testing::TestWithParam<GroupFormat> {};

TEST_P(GroupLinearTest, ABlockIsWorthItsDifferencesTimesItsScale) {
  const GroupMatrix matrix(GetParam(), 40, 256, 1);
  std::vector<float> values(matrix.values().size());
  UnpackRow(GetParam().encoding, matrix.bytes(), static_cast<std::int64_t>(values.size()),
            values.data());
  EXPECT_EQ(values, matrix.values());
}

TEST_P(GroupLinearTest, AProductHasTheBitsOfTheUnpackedWeight) {
  const GroupMatrix first(GetParam(), 13, 384, 2);
  const GroupMatrix second(GetParam(), 8, 384, 3);
  const std::vector<WeightSlice> packed = {first.packed(), second.packed()};
  const std::vector<WeightSlice> dense = {first.dense(), second.dense()};
  const std::vector<float> x = RandomFloats(100 * 384, 4);
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (!IsSupported(isa)) continue;
    CpuBackend backend(2, isa);
    const auto weight = backend.MakeLinear(packed, {}, LinearLayout::kPlain);
    const auto twin = backend.MakeLinear(dense, {}, LinearLayout::kPlain);
    for (const std::int64_t tokens : kTokenCounts) {
      EXPECT_TRUE(SameBits(Apply(backend, *weight, tokens, x), Apply(backend, *twin, tokens, x)))
          << backend.capabilities().name << ", " << tokens << " tokens";
    }
  }
}

TEST_P(GroupLinearTest, AnOrderSaysWhichInputAColumnMultiplies) {
  const GroupMatrix matrix(GetParam(), 16, 256, 5);
  std::vector<std::int32_t> order(256);
  for (std::int32_t i = 0; i < 256; ++i) order[static_cast<std::size_t>(i)] = i * 37 % 256;
  WeightSlice ordered = matrix.packed();
  ordered.order = order.data();
  CpuBackend backend(2);
  const auto weight = backend.MakeLinear({&ordered, 1}, {}, LinearLayout::kPlain);
  const WeightSlice dense = matrix.dense();
  const auto twin = backend.MakeLinear({&dense, 1}, {}, LinearLayout::kPlain);
  const std::vector<float> x = RandomFloats(7 * 256, 6);
  std::vector<float> gathered;
  for (std::size_t t = 0; t < 7; ++t) {
    for (const std::int32_t input : order) {
      gathered.push_back(x[t * 256 + static_cast<std::size_t>(input)]);
    }
  }
  for (const std::int64_t tokens : {1, 7}) {
    EXPECT_TRUE(
        SameBits(Apply(backend, *weight, tokens, x), Apply(backend, *twin, tokens, gathered)));
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, GroupLinearTest, testing::ValuesIn(kFormats),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace thinkwire::worker::kernels
