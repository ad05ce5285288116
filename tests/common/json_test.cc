#include "common/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/utf8.h"

namespace thinkwire {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

std::string Refusal(std::string_view text, const JsonLimits& limits = {}) {
  const auto document = ParseJson(text, "x.json", limits);
  EXPECT_EQ(document.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(document.status().message());
}

TEST(ParseJson, GivesWhatNlohmannGives) {
  for (const std::string text :
       {"null", "true", "-7", "18446744073709551615", "0.25", "\"\\u00e9\"", "[]", "{}",
        R"({"a": [1, {"b": [[], "x", null]}, false], "c": {"a": -1.5e3}, "": []})"}) {
    const auto document = ParseJson(text, "x");
    ASSERT_TRUE(document.ok()) << document.status();
    EXPECT_EQ(*document, Json::parse(text));
    EXPECT_EQ(document->type(), Json::parse(text).type());
  }
}

TEST(ParseJson, SaysWhereTheTextStopsBeingJson) {
  EXPECT_EQ(Refusal(R"({"a": 1,})"),
            "x.json: not valid JSON at byte 9: syntax error while parsing object key - unexpected "
            "'}'; expected string literal");
  EXPECT_THAT(Refusal(""), StartsWith("x.json: not valid JSON at byte 1: syntax error"));
  EXPECT_THAT(Refusal("[1] 2"), HasSubstr("byte 5"));
  EXPECT_THAT(Refusal("\"\xff\""), HasSubstr("invalid string: ill-formed UTF-8 byte"));
  EXPECT_THAT(Refusal("1e999"), HasSubstr("not valid JSON"));
}

TEST(ParseJson, RefusesAKeyThatIsThereTwiceByItsPath) {
  EXPECT_EQ(Refusal(R"({"a": 1, "a": 2})"), "x.json: key \"a\" appears twice");
  EXPECT_EQ(Refusal(R"({"m": {"v": [0, {"b": 1, "c": {}, "b": 1}]}})"),
            "x.json: key \"b\" appears twice in m.v[1]");
  EXPECT_EQ(Refusal(R"({"a": 1, "\u0061": 2})"), "x.json: key \"a\" appears twice");
  EXPECT_TRUE(ParseJson(R"([{"a": 1}, {"a": {"a": 1}}])", "x").ok());
}

TEST(ParseJson, LimitsDepthAndSize) {
  const JsonLimits limits = {.max_bytes = 20, .max_depth = 3};
  EXPECT_TRUE(ParseJson(R"([{"a": [1]}])", "x", limits).ok());
  EXPECT_EQ(Refusal(R"([{"a": [[]]}])", limits), "x.json: nests deeper than 3 levels");
  EXPECT_EQ(Refusal(std::string(21, ' '), limits), "x.json: 21 bytes; at most 20 are read");
  EXPECT_TRUE(ParseJson("[1, {\"a\": 2}]", "x", {.max_values = 4}).ok());
  EXPECT_EQ(Refusal("[1, {\"a\": 2}]", {.max_values = 3}), "x.json: holds more than 3 values");
  EXPECT_EQ(Refusal("[[], []]", {.max_values = 2}), "x.json: holds more than 2 values");
  EXPECT_THAT(Refusal(std::string(1'000'000, '[')), HasSubstr("nests deeper than 64 levels"));
}

TEST(ParseJson, MessagesAreShortAndPrintable) {
  const std::string key(100'000, 'k');
  EXPECT_LT(Refusal("{\"" + key + "\": 1, \"" + key + "\": 2}").size(), 300U);
  EXPECT_LT(Refusal("[\"" + key).size(), 300U);
  EXPECT_LT(Refusal(std::string(100'000, '9') + "e999").size(), 300U);
  EXPECT_EQ(Refusal(R"({"\n": 1, "\n": 2})").find('\n'), std::string::npos);
  std::string nested;
  for (int level = 0; level < 60; ++level) nested += "{\"" + std::string(100, 'k') + "\": ";
  EXPECT_LT(Refusal(nested + R"({"a": 1, "a": 2})").size(), 400U);
  const std::string accented = std::string(119, 'a') + "\u00e9";  // a character across the cut
  EXPECT_TRUE(IsValidUtf8(Refusal("{\"" + accented + "\": 1, \"" + accented + "\": 2}")));
}

struct ReadApart {
  absl::StatusOr<Json> document;
  std::vector<std::pair<std::string, Json>> members;
};

// With model.vocab apart.
ReadApart ParseApart(std::string_view text) {
  JsonMembers apart = {.parent = "model", .name = "vocab", .members = {}};
  auto document = ParseJson(text, "x.json", {.max_values = 20}, &apart);
  return {std::move(document), std::move(apart.members)};
}

TEST(ParseJson, GivesTheMembersOfOneObjectApart) {
  const ReadApart read = ParseApart(
      R"({"vocab": {"a": 1}, "model": {"x": [{"vocab": {"a": 2}}], "vocab": {"b": 3, "a": [{"c": 4}],
          "": {}}, "y": {"a": 5}}, "z": {"vocab": {"a": 6}}})");
  ASSERT_TRUE(read.document.ok()) << read.document.status();
  EXPECT_EQ(*read.document, Json::parse(R"({"vocab": {"a": 1}, "model": {"x": [{"vocab": {"a": 2}}],
                                           "vocab": {}, "y": {"a": 5}}, "z": {"vocab": {"a": 6}}})"));
  const std::vector<std::pair<std::string, Json>> expected = {
      {"b", 3}, {"a", Json::parse(R"([{"c": 4}])")}, {"", Json::object()}};
  EXPECT_EQ(read.members, expected);
}

TEST(ParseJson, HasNothingApartOfWhatIsNoSuchObject) {
  for (const std::string text :
       {R"({"model": {"vocab": [1, {"a": 1}]}})", R"({"model": [{"vocab": 1}, {"a": 1}]})",
        R"([[{"vocab": {"a": 1}}]])", R"({"vocab": {"a": 1}})", R"({"model": {"vocab": 7}})"}) {
    const ReadApart read = ParseApart(text);
    ASSERT_TRUE(read.document.ok()) << read.document.status();
    EXPECT_EQ(*read.document, Json::parse(text));
    EXPECT_TRUE(read.members.empty()) << text;
  }
}

TEST(ParseJson, RefusesASecondMemberAndTooManyApartToo) {
  EXPECT_EQ(
      ParseApart(R"({"model": {"vocab": {"a": 1, "b": 2, "a": 3}}})").document.status().message(),
      "x.json: key \"a\" appears twice in model.vocab");
  EXPECT_EQ(ParseApart(R"({"model": {"vocab": {"a": {"b": 1, "b": 2}}}})").document.status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseApart(R"({"model": {"vocab": {}, "vocab": {}}})").document.status().message(),
            "x.json: key \"vocab\" appears twice in model");
  std::string many = R"({"model": {"vocab": {)";
  for (int i = 0; i < 20; ++i) many += absl::StrCat("\"", i, "\": 0,");
  EXPECT_EQ(ParseApart(many + R"("x": 0}}})").document.status().message(),
            "x.json: holds more than 20 values");
}

TEST(ReadJsonFile, NamesTheFile) {
  const std::filesystem::path folder = testing::TempDir();
  const std::filesystem::path file = folder / "json_test.json";
  std::ofstream(file) << "{\"a\": 1}";
  const auto document = ReadJsonFile(file);
  ASSERT_TRUE(document.ok()) << document.status();
  EXPECT_EQ((*document)["a"], 1);

  EXPECT_EQ(ReadJsonFile(file, {.max_bytes = 7}).status().message(),
            file.string() + ": 8 bytes; at most 7 are read");
  std::ofstream(file) << "{";
  EXPECT_THAT(std::string(ReadJsonFile(file).status().message()),
              StartsWith(file.string() + ": not valid JSON"));
  std::filesystem::remove(file);
  EXPECT_EQ(ReadJsonFile(file).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(ReadJsonFile(folder).status().message()),
              HasSubstr("not a regular file"));
  const std::filesystem::path loop = folder / "json_test_loop.json";
  std::filesystem::remove(loop);
  std::filesystem::create_symlink(loop, loop);
  EXPECT_THAT(std::string(ReadJsonFile(loop).status().message()), HasSubstr("cannot be read: "));
  std::filesystem::remove(loop);
}

}  // namespace
}  // namespace thinkwire
