#include "common/gguf_header.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/gguf.h"

namespace thinkwire {
namespace {

template <class T>
T ValueOf(const GgufContent& content, std::string_view key) {
  const GgufValue* value = content.Find(key);
  const T* held = value == nullptr ? nullptr : std::get_if<T>(value);
  EXPECT_NE(held, nullptr) << key;
  return held == nullptr ? T() : *held;
}

GgufContent Parsed(const std::string& file) {
  auto content = ParseGguf(std::as_bytes(std::span(file)), "x.gguf");
  EXPECT_TRUE(content.ok()) << content.status();
  return content.ok() ? *std::move(content) : GgufContent();
}

TEST(GgufHeaderTest, ValuesAreReadAsTheyWereGiven) {
  GgufHeader header;
  header.U32("a.number", 4'000'000'000U);
  header.F32("a.float", 0.25F);
  header.Flag("yes", true);
  header.Flag("no", false);
  header.Text("text", std::string_view("a\0b", 3));
  header.Texts("texts", std::vector<std::string>{"", "<｜User｜>", "x"});
  header.I32s("ints", std::vector<std::int32_t>{1, -2, 3});
  header.Texts("none", {});
  const std::string file = header.Bytes();
  EXPECT_EQ(file.size() % GgufHeader::kAlignment, 0U);
  const GgufContent content = Parsed(file);
  EXPECT_EQ(content.values.size(), 8U);
  EXPECT_EQ(ValueOf<std::uint64_t>(content, "a.number"), 4'000'000'000U);
  EXPECT_EQ(ValueOf<double>(content, "a.float"), 0.25);
  EXPECT_TRUE(ValueOf<bool>(content, "yes"));
  EXPECT_FALSE(ValueOf<bool>(content, "no"));
  EXPECT_EQ(ValueOf<std::string_view>(content, "text"), std::string_view("a\0b", 3));
  EXPECT_EQ(ValueOf<GgufArray>(content, "texts").Strings(),
            (std::vector<std::string_view>{"", "<｜User｜>", "x"}));
  EXPECT_EQ(ValueOf<GgufArray>(content, "ints").Integers(), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_EQ(ValueOf<GgufArray>(content, "none").count, 0U);
}

TEST(GgufHeaderTest, TensorsLieBehindEachOther) {
  constexpr std::uint32_t kQ8 = 8;
  GgufHeader header;
  const std::vector<std::int64_t> matrix = {3, 32};
  const std::vector<std::int64_t> vector = {2};
  header.Tensor("blk.0.m", kQ8, matrix, 102);
  header.Tensor("v", 0, vector, 8);
  std::string file = header.Bytes();
  file += std::string(102, 'm');
  file.append(GgufHeader::PaddingAfter(102), '\0');
  file += std::string(8, 'v');
  const GgufContent content = Parsed(file);
  ASSERT_EQ(content.tensors.size(), 2U);
  EXPECT_EQ(content.tensors[0].name, "blk.0.m");
  EXPECT_EQ(content.tensors[0].type->name, "Q8_0");
  EXPECT_EQ(content.tensors[0].shape, matrix);
  EXPECT_EQ(content.tensors[0].bytes.front(), std::byte{'m'});
  EXPECT_EQ(content.tensors[0].bytes.back(), std::byte{'m'});
  EXPECT_EQ(content.tensors[1].shape, vector);
  EXPECT_EQ(content.tensors[1].bytes.size(), 8U);
  EXPECT_EQ(content.tensors[1].bytes.front(), std::byte{'v'});
}

TEST(GgufHeaderTest, PaddingFillsUp) {
  EXPECT_EQ(GgufHeader::PaddingAfter(0), 0U);
  EXPECT_EQ(GgufHeader::PaddingAfter(1), 31U);
  EXPECT_EQ(GgufHeader::PaddingAfter(31), 1U);
  EXPECT_EQ(GgufHeader::PaddingAfter(64), 0U);
}

}  // namespace
}  // namespace thinkwire
