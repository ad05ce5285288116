#include "worker/text/ascii_block.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

namespace thinkwire::worker::text {
namespace {

void ExpectSame(const std::array<char, kBlockBytes>& bytes) {
  const AsciiBlock block = ReadAsciiBlock(bytes.data());
  const AsciiBlock expected = ReadAsciiBlockBytewise(bytes.data());
  EXPECT_EQ(block.letters, expected.letters);
  EXPECT_EQ(block.numbers, expected.numbers);
  EXPECT_EQ(block.spaces, expected.spaces);
  EXPECT_EQ(block.white, expected.white);
  EXPECT_EQ(block.line_breaks, expected.line_breaks);
  EXPECT_EQ(block.apostrophes, expected.apostrophes);
  EXPECT_EQ(block.not_ascii, expected.not_ascii);
}

TEST(AsciiBlock, ReadsEveryByteAtEveryPlaceAsTheDefinition) {
  std::array<char, kBlockBytes> bytes;
  for (int first = 0; first < 256; ++first) {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(first + i);
    ExpectSame(bytes);
  }
}

TEST(AsciiBlock, ReadsRandomBytesAsTheDefinition) {
  std::mt19937 random(1);
  for (int i = 0; i < 1000; ++i) {
    std::array<char, kBlockBytes> bytes;
    for (char& byte : bytes) byte = static_cast<char>(random());
    ExpectSame(bytes);
  }
}

TEST(AsciiBlock, KnowsWhatAByteIs) {
  std::array<char, kBlockBytes> bytes;
  bytes.fill('!');
  bytes[1] = 'Z';
  bytes[2] = '9';
  bytes[3] = ' ';
  bytes[62] = '\r';
  bytes[63] = '\xFF';
  const AsciiBlock block = ReadAsciiBlock(bytes.data());
  EXPECT_EQ(block.letters, 2U);
  EXPECT_EQ(block.numbers, 4U);
  EXPECT_EQ(block.spaces, 8U);
  EXPECT_EQ(block.white, 8U | std::uint64_t{1} << 62);
  EXPECT_EQ(block.line_breaks, std::uint64_t{1} << 62);
  EXPECT_EQ(block.apostrophes, 0U);
  EXPECT_EQ(block.not_ascii, std::uint64_t{1} << 63);
}

}  // namespace
}  // namespace thinkwire::worker::text
