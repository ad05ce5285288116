#include "worker/kernels/unpack_row.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/worker/kernels/golden_blocks.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::kernels {
namespace {

class UnpackRowTest : public testing::TestWithParam<PackedFormat> {
 protected:
  const GoldenBlocks golden_;
};

TEST_P(UnpackRowTest, EqualsGgufPyBitForBit) {
  const std::vector<float> expected = golden_.values(GetParam());
  const std::span<const std::byte> packed = golden_.packed(GetParam());
  const auto elements = static_cast<std::int64_t>(expected.size());
  ASSERT_EQ(BytesOf(GetParam().encoding, elements), static_cast<std::int64_t>(packed.size()));
  std::vector<float> values(expected.size());
  UnpackRow(GetParam().encoding, packed.data(), elements, values.data());
  for (std::size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(expected[i]))
        << "weight " << i << ": " << values[i] << " and " << expected[i];
  }
}

TEST_P(UnpackRowTest, ARowIsRoundedOnceToBf16) {
  const std::vector<float> expected = golden_.values(GetParam());
  const auto cols = static_cast<std::int64_t>(expected.size()) / 5;
  const WeightSlice slice = {.data = golden_.packed(GetParam()).data(),
                             .encoding = GetParam().encoding,
                             .rows = 5,
                             .cols = cols,
                             .row_stride = cols};
  std::vector<std::uint16_t> row(static_cast<std::size_t>(cols));
  ConvertRow({&slice, 3}, row.data());
  for (std::size_t i = 0; i < row.size(); ++i) {
    ASSERT_EQ(row[i], Bf16FromF32(expected[static_cast<std::size_t>(3 * cols) + i])) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, UnpackRowTest,
                         testing::ValuesIn(PackedFormats().begin(), PackedFormats().end()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(UnpackRowDeathTest, TakesWholeBlocksOfPackedFormats) {
  const std::vector<char> bytes(64);
  std::vector<float> out(64);
  EXPECT_DEATH(UnpackRow(Encoding::kQ8_0, bytes.data(), 33, out.data()), "whole blocks");
  EXPECT_DEATH(UnpackRow(Encoding::kBf16, bytes.data(), 4, out.data()), "that is packed");
}

}  // namespace
}  // namespace thinkwire::worker::kernels
