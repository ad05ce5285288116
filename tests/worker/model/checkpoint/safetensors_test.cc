#include "worker/model/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "tests/worker/model/model_files.h"

namespace thinkwire::worker::model {
namespace {

using testing::HasSubstr;

absl::StatusOr<std::vector<StoredTensor>> Parse(const std::string& file) {
  return ParseSafetensors(std::as_bytes(std::span(file)), "x.safetensors");
}

std::string Refusal(const std::string& file) {
  const auto parsed = Parse(file);
  return parsed.ok() ? "accepted" : std::string(parsed.status().message());
}

// Two tensors of 4 and 6 bytes with one thing changed in the header's text.
std::string Changed(const std::string& from, const std::string& to) {
  std::string header = R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},)"
                       R"("b":{"dtype":"BF16","shape":[1,3],"data_offsets":[4,10]}})";
  if (!from.empty()) header.replace(header.find(from), from.size(), to);
  return Safetensors(std::string_view(header), "0123456789");
}

TEST(SafetensorsTest, ReadsTensorsInOrderOfOffset) {
  const std::string file = Safetensors(
      std::string_view(R"({"__metadata__":{"format":"pt"},)"
                       R"("late":{"dtype":"BF16","shape":[1,3],"data_offsets":[4,10]},)"
                       R"("early":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )"),
      "0123456789");
  const auto tensors = Parse(file);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  ASSERT_EQ(tensors->size(), 2U);
  EXPECT_EQ((*tensors)[0].name, "early");
  EXPECT_EQ((*tensors)[0].dtype, "F32");
  EXPECT_TRUE((*tensors)[0].shape.empty());
  EXPECT_EQ((*tensors)[1].name, "late");
  EXPECT_THAT((*tensors)[1].shape, testing::ElementsAre(1, 3));
  EXPECT_EQ(std::memcmp((*tensors)[1].bytes.data(), "456789", 6), 0);
  EXPECT_EQ((*tensors)[1].bytes.size(), 6U);
}

TEST(SafetensorsTest, RefusesWrongLengths) {
  EXPECT_THAT(Refusal(""), HasSubstr("x.safetensors: 0 bytes are too few"));
  EXPECT_THAT(Refusal("1234567"), HasSubstr("truncated"));
  EXPECT_THAT(Refusal(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)),
              HasSubstr("at most 100000000"));
  EXPECT_THAT(Refusal(std::string("\x01\xe1\xf5\x05\0\0\0\0{}", 10)), HasSubstr("100000001 bytes"));
  EXPECT_THAT(Refusal(std::string("\x03\0\0\0\0\0\0\0{}", 10)), HasSubstr("in a file of 10 bytes"));
  EXPECT_THAT(Refusal(std::string(8, '\0')), HasSubstr("does not begin with {"));
}

TEST(SafetensorsTest, RefusesTruncatedAndTrailingData) {
  const std::string file = Changed("", "");
  ASSERT_TRUE(Parse(file).ok());
  EXPECT_THAT(Refusal(file.substr(0, file.size() - 1)),
              HasSubstr("tensor \"b\": ends at byte 10 of 9 data bytes; is the file truncated?"));
  EXPECT_THAT(Refusal(file + "!"), HasSubstr("1 bytes after the last tensor"));
}

TEST(SafetensorsTest, RefusesWrongEntries) {
  EXPECT_THAT(Refusal(Changed("[0,4]", "[0,6]")), HasSubstr("tensor \"a\": data_offsets [0,6]"));
  EXPECT_THAT(Refusal(Changed("[4,10]", "[2,8]")), HasSubstr("tensor \"b\": overlaps"));
  EXPECT_THAT(Refusal(Changed("[4,10]", "[0,6]")), HasSubstr("overlaps"));
  EXPECT_THAT(Refusal(Changed("[2],\"data_offsets\":[0,4]", "[1],\"data_offsets\":[0,2]")),
              HasSubstr("tensor \"b\": leaves a hole from 2 to 4"));
  EXPECT_THAT(Refusal(Changed("[4,10]", "[10,4]")), HasSubstr("ascending"));
  EXPECT_THAT(Refusal(Changed("[4,10]", "[-6,0]")), HasSubstr("ascending"));
  EXPECT_THAT(Refusal(Changed("[4,10]", "[18446744073709551610,18446744073709551615]")),
              HasSubstr("ascending"));
  EXPECT_THAT(Refusal(Changed("[4,10]", "[4]")), HasSubstr("data_offsets are missing"));
  EXPECT_THAT(Refusal(Changed("\"b\":", "\"a\":")), HasSubstr("\"a\" appears twice"));
  EXPECT_THAT(Refusal(Changed("BF16", "BF17")), HasSubstr("unknown dtype \"BF17\""));
  EXPECT_THAT(Refusal(Changed("\"BF16\"", "7")), HasSubstr("dtype is missing"));
  EXPECT_THAT(Refusal(Changed("[1,3]", "[1,-3]")), HasSubstr("not a list of sizes"));
  EXPECT_THAT(Refusal(Changed("[1,3]", "[1.0,3]")), HasSubstr("not a list of sizes"));
  EXPECT_THAT(Refusal(Changed("[1,3]", "[9223372036854775807,9223372036854775807]")),
              HasSubstr("no number of bytes"));
  EXPECT_THAT(Refusal(Changed("\"shape\":[1,3],", "")), HasSubstr("shape is missing"));
  EXPECT_THAT(Refusal(Changed("\"b\":{", "\"__metadata__\":{")), HasSubstr("__metadata__"));
  EXPECT_THAT(Refusal(Changed("}}", "}")), HasSubstr("not valid JSON"));
  EXPECT_THAT(Refusal(Changed("\"b\"", "\"\xff\"")), HasSubstr("not valid JSON"));
}

// As safetensors 0.8.0 does.
TEST(SafetensorsTest, PassesOverWhatTheFormatDoesNotName) {
  EXPECT_TRUE(Parse(Changed("[1,3],", "[1,3],\"x\":{\"y\":[1,null]},")).ok());
  EXPECT_TRUE(Parse(Changed("{\"a\"", "{\"__metadata__\":null,\"a\"")).ok());
  EXPECT_THAT(Refusal(Changed("{\"a\"", "{\"__metadata__\":{\"x\":1},\"a\"")),
              HasSubstr("__metadata__ is not all strings"));
  EXPECT_THAT(Refusal(Changed("{\"a\"", " {\"a\"")), HasSubstr("does not begin with {"));
}

TEST(SafetensorsTest, KnowsAGitLfsPointer) {
  EXPECT_THAT(Refusal("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"),
              HasSubstr("x.safetensors: a Git LFS pointer"));
}

TEST(SafetensorsTest, KnowsTheTypesOfTheFormat) {
  const auto eight_bytes = [](const std::string& dtype, int elements) {
    return Refusal(Safetensors(
        nlohmann::json{{"a", {{"dtype", dtype}, {"shape", {elements}}, {"data_offsets", {0, 8}}}}},
        "01234567"));
  };
  for (const char* dtype : {"U64", "I64", "C64", "F64"}) {
    EXPECT_EQ(eight_bytes(dtype, 1), "accepted") << dtype;
  }
  for (const char* dtype : {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}) {
    EXPECT_EQ(eight_bytes(dtype, 8), "accepted") << dtype;
  }
  EXPECT_EQ(eight_bytes("F4", 16), "accepted");
  EXPECT_THAT(eight_bytes("F4", 15), HasSubstr("no number of bytes"));
}

TEST(SafetensorsTest, NamesInMessagesStayOnOneLine) {
  const std::string message =
      Refusal(Changed("\"b\":{\"dtype\":\"BF16\"", "\"b\\n\\u0000c\":{\"dtype\":\"X\""));
  EXPECT_THAT(message, HasSubstr("b\\n"));
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

// Whatever a damaged file says, parsing ends in tensors within the file or in a message.
TEST(SafetensorsTest, DamagedFilesNeverReachOutside) {
  const std::string whole = ReadFile(ModelDir("qwen2") / "model.safetensors");
  const std::size_t header_end = 8 + SplitSafetensors(whole).header.dump().size();
  const auto seed = static_cast<std::uint32_t>(testing::UnitTest::GetInstance()->random_seed());
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 300; ++round) {
    std::string file = whole;
    for (int i = 0; i < 1 + round % 4; ++i) {
      file[random() % header_end] = static_cast<char>(random());
    }
    if (round % 5 == 0) file.resize(random() % file.size());
    const auto tensors = Parse(file);
    if (!tensors.ok()) continue;
    for (const StoredTensor& tensor : *tensors) {
      ASSERT_GE(reinterpret_cast<const char*>(tensor.bytes.data()), file.data());
      ASSERT_LE(reinterpret_cast<const char*>(tensor.bytes.data() + tensor.bytes.size()),
                file.data() + file.size());
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
