#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/worker/kernels/golden_blocks.h"
#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/write_group_block.h"

// Packed weights on a GPU: the bits of the same weights in bf16 as the host makes them, for every
// encoding, in every company. Golden blocks hold all bit patterns of scales; random ones of groups
// have an f16's.
namespace thinkwire::worker::kernels {
namespace {

struct Shape {
  std::int64_t in;
  std::int64_t out;
};

// Rows that end within a tile; one tile a multiprocessor of 32 rows, of 64, and several; rings that
// go round more than once.
constexpr Shape kShapes[] = {{256, 24},    {768, 200},   {2304, 2112},
                             {1280, 5128}, {768, 17920}, {8960, 1536}};
constexpr std::int64_t kTokens[] = {1, 2, 7, 8, 9, 16, 17, 33, 64, 65, 130, 257, 512};

// A part in both forms.
struct Part {
  std::vector<std::byte> packed;
  std::vector<std::uint16_t> dense;
  WeightSlice packed_slice;
  WeightSlice dense_slice;
};

std::unique_ptr<Part> MakePart(Encoding encoding, std::vector<std::byte> bytes,
                               const Shape& shape) {
  auto part = std::make_unique<Part>();
  part->packed = std::move(bytes);
  part->packed_slice = {.data = part->packed.data(),
                        .encoding = encoding,
                        .rows = shape.out,
                        .cols = shape.in,
                        .row_stride = shape.in};
  part->dense.resize(static_cast<std::size_t>(shape.out * shape.in));
  for (std::int64_t r = 0; r < shape.out; ++r) {
    ConvertRow({&part->packed_slice, r}, part->dense.data() + r * shape.in);
  }
  part->dense_slice = part->packed_slice;
  part->dense_slice.data = part->dense.data();
  part->dense_slice.encoding = Encoding::kBf16;
  return part;
}

// Random numbers of a group encoding, zeros of all sizes, scales of f16.
std::vector<std::byte> RandomGroups(Encoding encoding, int bits, const Shape& shape) {
  std::mt19937 random(static_cast<std::uint32_t>(shape.in + shape.out));
  const BlockShape block = BlockOf(encoding);
  std::vector<std::byte> bytes(static_cast<std::size_t>(BytesOf(encoding, shape.in * shape.out)));
  std::vector<std::uint8_t> q(static_cast<std::size_t>(block.elements));
  auto* to = reinterpret_cast<char*>(bytes.data());
  for (std::int64_t i = 0; i < shape.in * shape.out / block.elements; ++i, to += block.bytes) {
    for (std::uint8_t& number : q) number = static_cast<std::uint8_t>(random() % (1U << bits));
    const std::uint32_t zero = random() % ((1U << bits) + 1);
    const float scale = F32FromF16(static_cast<std::uint16_t>(0x1000U + random() % 0x1000U));
    WriteGroupBlock(encoding, q, zero, scale, to);
  }
  return bytes;
}

// Of kFp8 q are bytes of e4m3, none of them a NaN.
std::vector<std::byte> RandomE4m3(const Shape& shape) {
  std::mt19937 random(1);
  const BlockShape block = BlockOf(Encoding::kFp8);
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(BytesOf(Encoding::kFp8, shape.in * shape.out)));
  std::vector<std::uint8_t> q(static_cast<std::size_t>(block.elements));
  auto* to = reinterpret_cast<char*>(bytes.data());
  for (std::int64_t i = 0; i < shape.in * shape.out / block.elements; ++i, to += block.bytes) {
    for (std::uint8_t& number : q) {
      number = static_cast<std::uint8_t>(random() % 0x7F | random() % 2 << 7);
    }
    WriteGroupBlock(Encoding::kFp8, q, 0, 0.001F * static_cast<float>(1 + random() % 7), to);
  }
  return bytes;
}

struct Form {
  Encoding encoding;
  std::string name;
};

std::vector<Form> Forms() {
  std::vector<Form> forms;
  for (const PackedFormat& format : PackedFormats())
    forms.push_back({format.encoding, format.name});
  forms.insert(forms.end(), {{Encoding::kInt4, "int4"},
                             {Encoding::kInt4G64, "int4_g64"},
                             {Encoding::kInt4G32, "int4_g32"},
                             {Encoding::kInt8, "int8"},
                             {Encoding::kInt8G64, "int8_g64"},
                             {Encoding::kInt8G32, "int8_g32"},
                             {Encoding::kFp8, "fp8"}});
  return forms;
}

// All are finite, and most of them not 0.
bool SaysSomething(const std::vector<float>& values) {
  const auto is_finite = [](float value) { return std::isfinite(value); };
  const auto zeros = std::count(values.begin(), values.end(), 0.0F);
  return std::all_of(values.begin(), values.end(), is_finite) &&
         zeros < static_cast<std::ptrdiff_t>(values.size() / 2);
}

using Op = void (Backend::*)(const Tensor& x, const LinearWeight& weight, const Tensor& out);

class CudaPackedTest : public testing::TestWithParam<Form> {
 protected:
  void SetUp() override {
    std::string why;
    device_ = Open(TestedDevices().front(), &why);
    if (device_ == nullptr) GTEST_SKIP() << why;
  }

  std::unique_ptr<Part> RandomPart(const Shape& shape) { return RandomPart(GetParam(), shape); }
  std::unique_ptr<Part> RandomPart(const Form& form, const Shape& shape) {
    for (const PackedFormat& format : PackedFormats()) {
      if (format.encoding != form.encoding) continue;
      return MakePart(form.encoding, golden_.Matrix(format, shape.out, shape.in), shape);
    }
    if (form.encoding == Encoding::kFp8) return MakePart(form.encoding, RandomE4m3(shape), shape);
    const int bits = form.name.starts_with("int4") ? 4 : 8;
    return MakePart(form.encoding, RandomGroups(form.encoding, bits, shape), shape);
  }

  std::vector<float> Apply(const LinearWeight& weight, Op op, std::int64_t tokens,
                           std::int64_t width, DType type) {
    const std::int64_t in = weight.in_features();
    const DeviceFloats x = Act(*device_, {tokens, in}, RandomBf16Floats(tokens * in, 5, 1e-6F));
    const DeviceFloats out(*device_, type, {tokens, width});
    ((*device_).*op)(x.tensor(), weight, out.tensor());
    return out.Read();
  }

  void ExpectSameBits(const std::vector<const Part*>& parts, LinearLayout layout, Op op,
                      std::int64_t width, DType type,
                      std::span<const std::int64_t> all_tokens = kTokens) {
    std::vector<WeightSlice> packed;
    std::vector<WeightSlice> dense;
    for (const Part* part : parts) {
      packed.push_back(part->packed_slice);
      dense.push_back(part->dense_slice);
    }
    const auto weight = device_->MakeLinear(packed, {}, layout);
    const auto twin = device_->MakeLinear(dense, {}, layout);
    EXPECT_LT(weight->bytes(), twin->bytes());
    for (const std::int64_t tokens : all_tokens) {
      const std::vector<float> expected = Apply(*twin, op, tokens, width, type);
      EXPECT_TRUE(SaysSomething(expected));
      EXPECT_TRUE(SameBits(Apply(*weight, op, tokens, width, type), expected))
          << tokens << " tokens, " << weight->in_features() << " to " << weight->out_features();
    }
  }

  const GoldenBlocks golden_;
  std::unique_ptr<Backend> device_;
};

TEST_P(CudaPackedTest, AProductHasTheBitsOfTheUnpackedWeight) {
  for (const Shape& shape : kShapes) {
    const auto part = RandomPart(shape);
    ExpectSameBits({part.get()}, LinearLayout::kPlain, &Backend::Linear, shape.out, DType::kBf16);
    ExpectSameBits({part.get()}, LinearLayout::kPlain, &Backend::LmHead, shape.out, DType::kF32);
  }
}

// A vocabulary's rows, which are made bf16 piece by piece; the last piece ends within a tile.
TEST_P(CudaPackedTest, SoDoManyRows) {
  constexpr std::int64_t kRows = (1 << 16) + 1048;
  constexpr std::int64_t kFewAndMany[] = {1, 64, 65, 130};
  const auto part = RandomPart({256, kRows});
  ExpectSameBits({part.get()}, LinearLayout::kPlain, &Backend::LmHead, kRows, DType::kF32,
                 kFewAndMany);
  ExpectSameBits({part.get()}, LinearLayout::kPlain, &Backend::Linear, kRows, DType::kBf16,
                 kFewAndMany);
}

TEST_P(CudaPackedTest, GatesAndUpsHaveTheBitsOfTheUnpackedOnes) {
  for (const Shape& shape : {Shape{256, 24}, Shape{768, 2560}, Shape{768, 8960}}) {
    const auto gate = RandomPart(shape);
    const auto up = RandomPart(shape);
    ExpectSameBits({gate.get(), up.get()}, LinearLayout::kGateUp, &Backend::GateUpSwiGlu, shape.out,
                   DType::kBf16);
  }
}

// As a Q4_K_M file has queries, keys and values.
TEST_P(CudaPackedTest, PartsMayDiffer) {
  const auto first = RandomPart({768, 512});
  const auto second = RandomPart({Encoding::kQ6K, "q6_k"}, {768, 128});
  ExpectSameBits({first.get(), second.get()}, LinearLayout::kPlain, &Backend::Linear, 640,
                 DType::kBf16);
  const auto gate = RandomPart({512, 136});
  const auto up = RandomPart({Encoding::kQ8_0, "q8_0"}, {512, 136});
  ExpectSameBits({gate.get(), up.get()}, LinearLayout::kGateUp, &Backend::GateUpSwiGlu, 136,
                 DType::kBf16);
}

TEST_P(CudaPackedTest, ItTakesHardlyMoreThanItsFile) {
  const auto part = RandomPart({3584, 4608});
  const auto weight = device_->MakeLinear({&part->packed_slice, 1}, {}, LinearLayout::kPlain);
  EXPECT_GE(weight->bytes(), part->packed.size());
  EXPECT_LE(weight->bytes(), static_cast<double>(part->packed.size()) * 1.06);
}

INSTANTIATE_TEST_SUITE_P(Forms, CudaPackedTest, testing::ValuesIn(Forms()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace thinkwire::worker::kernels
