#include "worker/model/checkpoint/tensor_content.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "worker/kernels/unpack_row.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Encoding;

TensorContent ContentOf(const std::vector<std::byte>& bytes, Encoding encoding) {
  const TensorBytes tensor = {bytes, encoding};
  return ReadContents({&tensor, 1}, [](std::span<const std::byte>) {}).front();
}

class TensorContentTest : public testing::TestWithParam<int> {};

// Where a block's two bytes are a scale is seen by what becomes of its weights: the reader of
// blocks, which asks for finite ones, takes an infinity for 65536, far above all else here.
TEST_P(TensorContentTest, AScaleThatIsNoNumberIsSeenWhereverItStands) {
  const auto encoding = static_cast<Encoding>(GetParam());
  const auto [elements, size] = kernels::BlockOf(encoding);
  int scales = 0;
  for (std::int64_t at = 0; at < size; at += 2) {
    std::vector<std::byte> blocks(static_cast<std::size_t>(2 * size), std::byte{0x11});
    blocks[static_cast<std::size_t>(size + at)] = std::byte{0};
    blocks[static_cast<std::size_t>(size + at) + 1] = std::byte{0x7c};
    std::vector<float> weights(static_cast<std::size_t>(2 * elements));
    kernels::UnpackRow(encoding, blocks.data(), 2 * elements, weights.data());
    const bool is_scale =
        std::any_of(weights.begin(), weights.end(), [](float w) { return std::abs(w) > 30000; });
    EXPECT_EQ(ContentOf(blocks, encoding).finite, !is_scale) << "bytes from " << at << " on";
    scales += is_scale ? 1 : 0;
  }
  EXPECT_GE(scales, 1);
}

// Those that files have.
INSTANTIATE_TEST_SUITE_P(Encodings, TensorContentTest,
                         testing::Range(static_cast<int>(Encoding::kQ4_0),
                                        static_cast<int>(Encoding::kInt4)));

TEST(TensorContentE4m3Test, TwoCodesAreNoNumbers) {
  for (int code = 0; code < 256; ++code) {
    for (const std::size_t at : {0UL, 37UL, 66UL}) {
      std::vector<std::byte> bytes(67, std::byte{0x7E});
      bytes[at] = static_cast<std::byte>(code);
      EXPECT_EQ(ContentOf(bytes, Encoding::kFp8).finite, (code & 0x7F) != 0x7F)
          << code << " at " << at;
    }
  }
}

TEST(TensorContentHashTest, EveryByteCounts) {
  std::vector<std::byte> bytes(90, std::byte{1});
  const std::uint64_t hash = ContentOf(bytes, Encoding::kQ8_0).hash;
  for (const std::size_t at : {0UL, 33UL, 89UL}) {
    std::vector<std::byte> changed = bytes;
    changed[at] = std::byte{2};
    EXPECT_NE(ContentOf(changed, Encoding::kQ8_0).hash, hash) << at;
  }
  EXPECT_EQ(ContentOf(bytes, Encoding::kQ8_0).hash, hash);
}

}  // namespace
}  // namespace thinkwire::worker::model
