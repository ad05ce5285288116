#include "common/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "tests/fakes/gguf_writer.h"

namespace thinkwire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kQ8 = 8;

absl::StatusOr<GgufContent> Parse(const std::string& file) {
  return ParseGguf(std::as_bytes(std::span(file)), "x.gguf");
}

std::string Refusal(const std::string& file) {
  const auto parsed = Parse(file);
  return parsed.ok() ? "accepted" : std::string(parsed.status().message());
}

template <class T>
T Get(const GgufContent& content, std::string_view key) {
  return std::get<T>(*content.Find(key));
}

TEST(GgufTest, ReadsValuesOfEveryType) {
  using W = GgufWriter;
  const std::string file = W().U32("u32", 7)
                               .Raw("u8", GgufType::kU8, "\xff")
                               .Raw("i8", GgufType::kI8, "\xff")
                               .Raw("u16", GgufType::kU16, W::Bytes(std::uint16_t{65535}))
                               .Raw("i16", GgufType::kI16, W::Bytes(std::int16_t{-2}))
                               .Raw("i32", GgufType::kI32, W::Bytes(std::int32_t{-3}))
                               .Raw("u64", GgufType::kU64, W::Bytes(~std::uint64_t{0}))
                               .Raw("i64", GgufType::kI64, W::Bytes(std::int64_t{-4}))
                               .Raw("f64", GgufType::kF64, W::Bytes(0.25))
                               .Raw("bool", GgufType::kBool, std::string(1, '\1'))
                               .F32("f32", 1.5F)
                               .Text("text", "a\nb")
                               .File();
  const auto content = Parse(file);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(Get<std::uint64_t>(*content, "u32"), 7);
  EXPECT_EQ(Get<std::uint64_t>(*content, "u8"), 255);
  EXPECT_EQ(Get<std::int64_t>(*content, "i8"), -1);
  EXPECT_EQ(Get<std::uint64_t>(*content, "u16"), 65535);
  EXPECT_EQ(Get<std::int64_t>(*content, "i16"), -2);
  EXPECT_EQ(Get<std::int64_t>(*content, "i32"), -3);
  EXPECT_EQ(Get<std::uint64_t>(*content, "u64"), ~0ULL);
  EXPECT_EQ(Get<std::int64_t>(*content, "i64"), -4);
  EXPECT_EQ(Get<double>(*content, "f64"), 0.25);
  EXPECT_EQ(Get<bool>(*content, "bool"), true);
  EXPECT_EQ(Get<double>(*content, "f32"), 1.5);
  EXPECT_EQ(Get<std::string_view>(*content, "text"), "a\nb");
  EXPECT_EQ(content->Find("none"), nullptr);
}

TEST(GgufTest, ReadsArrays) {
  using W = GgufWriter;
  const std::string file = W().Strings("texts", {"", "ab"})
                               .I32s("numbers", {-1, 5})
                               .Raw("big", GgufType::kArray,
                                    W::ArrayHead(GgufType::kU64, 1) + W::Bytes(~std::uint64_t{0}))
                               .File();
  const auto content = Parse(file);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_THAT(std::get<GgufArray>(*content->Find("texts")).Strings(), ElementsAre("", "ab"));
  EXPECT_THAT(std::get<GgufArray>(*content->Find("numbers")).Integers(), ElementsAre(-1, 5));
  EXPECT_THAT(std::get<GgufArray>(*content->Find("big")).Integers(),
              ElementsAre(std::numeric_limits<std::int64_t>::max()));
}

TEST(GgufTest, ReadsTensorsAsTheyLie) {
  const std::string file = GgufWriter()
                               .Tensor("second", kQ8, {2, 64}, std::string(136, 'q'))
                               .TensorAt("third", kF32, {1}, 160)
                               .File() +
                           std::string(24 + 4, 'f');
  const auto content = Parse(file);
  ASSERT_TRUE(content.ok()) << content.status();
  ASSERT_EQ(content->tensors.size(), 2U);
  const GgufTensor& tensor = content->tensors[0];
  EXPECT_EQ(tensor.name, "second");
  EXPECT_EQ(tensor.type->name, "Q8_0");
  EXPECT_THAT(tensor.shape, ElementsAre(2, 64));
  EXPECT_EQ(tensor.bytes.size(), 136U);
  EXPECT_EQ(static_cast<char>(tensor.bytes[135]), 'q');
  EXPECT_EQ(static_cast<char>(content->tensors[1].bytes[0]), 'f');
}

TEST(GgufTest, AlignmentIsTheFiles) {
  GgufWriter writer;
  writer.alignment = 64;
  writer.U32("general.alignment", 64);
  writer.Tensor("a", kF32, {1}, "aaaa").Tensor("b", kF32, {1}, "bbbb");
  const auto content = Parse(writer.File());
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(content->tensors[1].bytes.size(), 4U);
  for (const std::uint32_t wrong : {0U, 4U, 48U, 1U << 21}) {
    EXPECT_THAT(Refusal(GgufWriter().U32("general.alignment", wrong).File()),
                HasSubstr("powers of two from 8 to 1048576"));
  }
  EXPECT_THAT(Refusal(GgufWriter().Text("general.alignment", "32").File()),
              HasSubstr("general.alignment is no u32"));
}

TEST(GgufTest, EveryTruncationIsRefused) {
  const std::string file = GgufWriter()
                               .Text("text", "abc")
                               .Strings("texts", {"a", "b"})
                               .Tensor("t", kF32, {2, 2}, std::string(16, 'x'))
                               .File();
  ASSERT_TRUE(Parse(file).ok());
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_THAT(Refusal(file.substr(0, size)), HasSubstr("x.gguf: ")) << size;
  }
}

TEST(GgufTest, RefusesWhatIsNoGguf) {
  EXPECT_THAT(Refusal("GGML\3\0\0\0"), HasSubstr("does not begin with \"GGUF\""));
  GgufWriter writer;
  writer.version = 1;
  EXPECT_THAT(Refusal(writer.File()), HasSubstr("GGUF version 1; supported: 2 and 3"));
  writer.version = 3U << 24;
  EXPECT_THAT(Refusal(writer.File()), HasSubstr("GGUF version 3, big-endian"));
  writer.version = 2;
  EXPECT_TRUE(Parse(writer.File()).ok());
  EXPECT_THAT(Refusal("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
              HasSubstr("Git LFS pointer"));
}

TEST(GgufTest, RefusesWrongValues) {
  using W = GgufWriter;
  const std::string huge = W::Bytes(std::numeric_limits<std::uint64_t>::max());
  EXPECT_THAT(Refusal(W().U32("k", 1).U32("k", 1).File()), HasSubstr("\"k\" is there twice"));
  EXPECT_THAT(Refusal(W().U32("", 1).File()), HasSubstr("key 0 has 0 bytes"));
  EXPECT_THAT(Refusal(W().U32(std::string(65536, 'k'), 1).File()), HasSubstr("65536 bytes"));
  EXPECT_THAT(Refusal(W().Raw("k", GgufType{13}, "").File()), HasSubstr("\"k\": its type is 13"));
  EXPECT_THAT(Refusal(W().Raw("k", GgufType::kBool, "\2").File()), HasSubstr("a bool of 2"));
  EXPECT_THAT(Refusal(W().Raw("k", GgufType::kString, huge).File()), HasSubstr("truncated"));
  EXPECT_THAT(
      Refusal(W().Raw("k", GgufType::kArray, W::ArrayHead(GgufType::kU64, 1ULL << 61)).File()),
      HasSubstr("more than a header's bytes"));
  EXPECT_THAT(
      Refusal(W().Raw("k", GgufType::kArray, W::ArrayHead(GgufType::kString, ~0ULL)).File()),
      HasSubstr("truncated"));
  EXPECT_THAT(Refusal(W().Raw("k", GgufType::kArray, W::ArrayHead(GgufType::kArray, 1)).File()),
              HasSubstr("an array of arrays"));
}

TEST(GgufTest, RefusesWrongTensors) {
  using W = GgufWriter;
  const std::string data(64, 'x');
  EXPECT_THAT(Refusal(W().Tensor("t", kF32, {}, data).File()), HasSubstr("has 0 dimensions"));
  EXPECT_THAT(Refusal(W().Tensor("t", kF32, {1, 1, 1, 1, 1}, data).File()),
              HasSubstr("tensor \"t\" has 5 dimensions"));
  EXPECT_THAT(Refusal(W().Tensor("t", kF32, {0}, data).File()), HasSubstr("has 0 elements"));
  EXPECT_THAT(Refusal(W().Tensor("t", kF32, {-1}, data).File()), HasSubstr("has -1 elements"));
  EXPECT_THAT(Refusal(W().Tensor("t", 4, {1}, data).File()), HasSubstr("type 4, which is not"));
  EXPECT_THAT(Refusal(W().Tensor("t", kQ8, {2, 33}, data).File()),
              HasSubstr("rows of 33 elements, which Q8_0 stores in blocks of 32"));
  EXPECT_THAT(Refusal(W().Tensor("t", kF32, {1LL << 40, 1LL << 40}, data).File()),
              HasSubstr("beyond any file"));
  EXPECT_THAT(Refusal(W().TensorAt("t", kF32, {1}, 8).File() + data),
              HasSubstr("begins at byte 8 of the data; allowed: multiples of 32"));
  EXPECT_THAT(Refusal(W().TensorAt("t", kF32, {1}, ~0ULL - 31).File() + data),
              HasSubstr("tensor \"t\" "));
  EXPECT_THAT(Refusal(W().Tensor("t", kF32, {17}, data).File()),
              HasSubstr("ends at byte 68 of 64 data bytes; is the file truncated?"));
  EXPECT_THAT(Refusal(W().Tensor("a", kF32, {9}, data).TensorAt("b", kF32, {1}, 32).File()),
              HasSubstr("tensor \"b\" overlaps the tensor before it, which ends at 36"));
  EXPECT_THAT(Refusal(W().Tensor("t", kF32, {1}, data).Tensor("t", kF32, {1}, data).File()),
              HasSubstr("tensor \"t\" is there twice"));
}

}  // namespace
}  // namespace thinkwire
