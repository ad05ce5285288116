#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/kernels/golden_blocks.h"
#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/kernels/stacked_rows.h"

// A packed weight gives the bits of the bf16 weight that it would have been unpacked to ahead.
namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kTokenCounts[] = {1, 2, 3, 4, 5, 7, 100};

// A part in both forms.
struct Part {
  std::vector<std::byte> packed;
  std::vector<std::uint16_t> unpacked;
  WeightSlice packed_slice;
  WeightSlice bf16_slice;
};

// Columns [first_col, first_col + cols) of a matrix [rows, whole_cols].
std::unique_ptr<Part> MakePart(const GoldenBlocks& golden, const PackedFormat& format,
                               std::int64_t rows, std::int64_t whole_cols, std::int64_t first_col,
                               std::int64_t cols) {
  auto part = std::make_unique<Part>();
  part->packed = golden.Matrix(format, rows, whole_cols);
  part->packed_slice = {.data = part->packed.data() + BytesOf(format.encoding, first_col),
                        .encoding = format.encoding,
                        .rows = rows,
                        .cols = cols,
                        .row_stride = whole_cols};
  part->unpacked.resize(static_cast<std::size_t>(rows * cols));
  for (std::int64_t r = 0; r < rows; ++r) {
    ConvertRow({&part->packed_slice, r}, part->unpacked.data() + r * cols);
  }
  part->bf16_slice = {.data = part->unpacked.data(),
                      .encoding = Encoding::kBf16,
                      .rows = rows,
                      .cols = cols,
                      .row_stride = cols};
  return part;
}

std::unique_ptr<Part> MakePart(const GoldenBlocks& golden, const PackedFormat& format,
                               std::int64_t rows, std::int64_t cols) {
  return MakePart(golden, format, rows, cols, 0, cols);
}

using Op = void (Backend::*)(const Tensor& x, const LinearWeight& weight, const Tensor& out);

// What `op` makes of `tokens` random rows.
std::vector<float> Apply(Backend& backend, const LinearWeight& weight, Op op, std::int64_t tokens,
                         std::int64_t width) {
  const std::int64_t in = weight.in_features();
  const DeviceFloats x = Act(backend, {tokens, in}, RandomFloats(tokens * in, 5, 1e-6F));
  const DeviceFloats out(backend, DType::kF32, {tokens, width});
  (backend.*op)(x.tensor(), weight, out.tensor());
  return out.Read();
}

void ExpectSameBits(const std::vector<const Part*>& parts, LinearLayout layout, Op op,
                    std::int64_t width) {
  std::vector<WeightSlice> packed;
  std::vector<WeightSlice> bf16;
  for (const Part* part : parts) {
    packed.push_back(part->packed_slice);
    bf16.push_back(part->bf16_slice);
  }
  for (const Isa isa : kAllIsas) {
    if (!IsSupported(isa)) continue;
    CpuBackend backend(3, isa);
    const auto weight = backend.MakeLinear(packed, {}, layout);
    const auto twin = backend.MakeLinear(bf16, {}, layout);
    EXPECT_LT(weight->bytes(), twin->bytes());
    for (const std::int64_t tokens : kTokenCounts) {
      EXPECT_TRUE(SameBits(Apply(backend, *weight, op, tokens, width),
                           Apply(backend, *twin, op, tokens, width)))
          << backend.capabilities().name << ", " << tokens << " tokens";
    }
  }
}

class PackedLinearTest : public testing::TestWithParam<PackedFormat> {
 protected:
  const GoldenBlocks golden_;
};

TEST_P(PackedLinearTest, AProductHasTheBitsOfTheUnpackedWeight) {
  const auto part = MakePart(golden_, GetParam(), 21, 768);
  ExpectSameBits({part.get()}, LinearLayout::kPlain, &Backend::Linear, 21);
  ExpectSameBits({part.get()}, LinearLayout::kPlain, &Backend::LmHead, 21);
}

TEST_P(PackedLinearTest, SoHasARanksPartOfItsColumns) {
  const auto part = MakePart(golden_, GetParam(), 13, 1024, 256, 512);
  ExpectSameBits({part.get()}, LinearLayout::kPlain, &Backend::Linear, 13);
}

TEST_P(PackedLinearTest, GateAndUpMayDiffer) {
  const auto gate = MakePart(golden_, GetParam(), 19, 512);
  const auto up = MakePart(golden_, PackedFormats()[9], 19, 512);
  ExpectSameBits({gate.get(), up.get()}, LinearLayout::kGateUp, &Backend::GateUpSwiGlu, 19);
}

INSTANTIATE_TEST_SUITE_P(Formats, PackedLinearTest,
                         testing::ValuesIn(PackedFormats().begin(), PackedFormats().end()),
                         [](const auto& info) { return std::string(info.param.name); });

// As a Q4_K_M file has queries, keys and values, and as the last rank of a vocabulary has rows past
// its end: panels hold rows of several parts.
TEST(PackedLinearStackTest, PartsOfSeveralEncodingsShareAWeight) {
  const GoldenBlocks golden;
  const auto first = MakePart(golden, PackedFormats()[7], 13, 256);
  const auto second = MakePart(golden, PackedFormats()[9], 6, 256);
  Part dense;
  dense.unpacked = ToBf16(RandomFloats(3 * 256, 8));
  dense.bf16_slice = {.data = dense.unpacked.data(),
                      .encoding = Encoding::kBf16,
                      .rows = 3,
                      .cols = 256,
                      .row_stride = 256};
  dense.packed_slice = dense.bf16_slice;
  ExpectSameBits({first.get(), second.get(), &dense}, LinearLayout::kPlain, &Backend::Linear, 22);
}

// Rounding each panel up to cache lines and Q4_K's unpacked scales are all that it takes more.
TEST(PackedLinearStackTest, ItTakesHardlyMoreThanItsFile) {
  const GoldenBlocks golden;
  CpuBackend backend(2);
  for (const PackedFormat& format : PackedFormats()) {
    const auto part = MakePart(golden, format, 24, 2048);
    const auto weight = backend.MakeLinear({&part->packed_slice, 1}, {}, LinearLayout::kPlain);
    EXPECT_GE(weight->bytes(), part->packed.size()) << format.name;
    EXPECT_LE(weight->bytes(), part->packed.size() * 1.05) << format.name;
  }
}

TEST(PackedLinearStackTest, ATableIsUnpacked) {
  const GoldenBlocks golden;
  const auto part = MakePart(golden, PackedFormats()[4], 9, 64);
  CpuBackend backend(2);
  const Buffer table = backend.MakeTable(part->packed_slice);
  const auto* const got = static_cast<const std::uint16_t*>(table.data());
  EXPECT_TRUE(std::equal(part->unpacked.begin(), part->unpacked.end(), got));
}

TEST(PackedLinearStackTest, RowsOfAPackedTableAreThoseOfAnUnpackedOne) {
  const GoldenBlocks golden;
  CpuBackend backend(2);
  ASSERT_TRUE(backend.EmbedsPacked());
  std::vector<std::int32_t> ids = {8, 0, 3, 3};
  const Tensor on_ids = MakeTensor(ids.data(), DType::kI32, 4);
  for (const PackedFormat& format : PackedFormats()) {
    const auto part = MakePart(golden, format, 9, 1280);
    const Buffer table = backend.MakeTable(part->packed_slice);
    std::vector<float> want(4 * 1280);
    backend.Embed(on_ids, MakeTensor(table.data(), DType::kBf16, 9, 1280),
                  MakeTensor(want.data(), DType::kF32, 4, 1280));
    std::vector<float> got(4 * 1280);
    backend.EmbedPacked(on_ids, part->packed_slice, MakeTensor(got.data(), DType::kF32, 4, 1280));
    EXPECT_EQ(got, want) << format.name;
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
