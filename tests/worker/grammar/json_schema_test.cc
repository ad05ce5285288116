#include "worker/grammar/json_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "tests/worker/grammar/grammar_testing.h"
#include "worker/grammar/integer_range.h"

namespace thinkwire::worker::grammar {
namespace {

using testing::HasSubstr;

struct Case {
  std::string schema;
  std::vector<std::string> accepted;
  std::vector<std::string> others;
};

void Check(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const JsonSchemaFormat format{c.schema};
    for (const auto& text : c.accepted) EXPECT_TRUE(Accepts(format, text)) << c.schema << text;
    for (const auto& text : c.others) EXPECT_FALSE(Accepts(format, text)) << c.schema << text;
  }
}

TEST(JsonSchemaTest, Types) {
  Check({{R"({"type":"null"})", {"null", "\n\nnull"}, {"nul", " null", "null "}},
         {R"({"type":["boolean","integer"]})", {"true", "false", "0", "-12"}, {"-0", "1.5", "01"}},
         {R"({"type":"number"})",
          {"0", "-0.5", "12e-3", "1.25E+10"},
          {"1.", ".5", "+1", "1e", "1e100", "12345678901234567"}},
         {"true", {"null", "[1, {\"a\": []}]", "\"x\""}, {"[1,]", "{a:1}"}}});
}

TEST(JsonSchemaTest, Strings) {
  Check(
      {{R"({"type":"string"})",
        {R"("")", R"("a\"\\\/\b\f\n\r\t\u00e9")", R"("\ud83d\ude00")", "\"ä€😀\""},
        {R"("\ud83d")", R"("\ude00")", R"("\x")", "\"\n\"", "\"\xC3\"", "\"\xED\xA0\x80\"", "\""}},
       {R"({"type":"string","minLength":2,"maxLength":3})",
        {"\"ab\"", "\"ä€😀\"", R"("\u00e4\ud83d\ude00")"},
        {"\"a\"", "\"abcd\"", R"("\u00e4")"}},
       {R"({"type":"string","pattern":"b\"?c"})", {R"("abcd")", R"("b\"c")"}, {"\"bdc\""}},
       {R"({"type":"string","pattern":"^a"})", {"\"a\"", "\"ab\""}, {"\"ba\""}},
       {R"({"type":"string","pattern":"a$"})", {"\"a\"", "\"ba\""}, {"\"ab\""}},
       {R"({"type":"string","pattern":"^a|b$"})", {"\"ax\"", "\"xb\""}, {"\"xa\"", "\"bx\""}},
       {R"({"type":"string","pattern":"a","maxLength":3})", {"\"xxa\""}, {"\"xxx", "\"xxxa\""}},
       {R"({"allOf":[{"pattern":"a"},{"pattern":"b"}],"type":"string"})",
        {"\"xbxa\"", "\"ab\""},
        {"\"a\"", "\"b\""}}});
}

TEST(JsonSchemaTest, Formats) {
  Check({{R"({"type":"string","format":"date"})",
          {"\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\""},
          {"\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\"", "\"0000-01-01\"", "\"2023-1-1\""}},
         {R"({"type":"string","format":"date-time"})",
          {"\"2024-02-29T23:59:59Z\"", "\"2024-01-01T00:00:00.125+02:00\""},
          {"\"2024-01-01\"", "\"2024-01-01T24:00:00Z\"", "\"2024-01-01T00:00:60Z\""}},
         {R"({"type":"string","format":"uuid"})",
          {"\"123e4567-e89b-12d3-a456-426614174000\""},
          {"\"123e4567-e89b-12d3-a456-42661417400\""}},
         {R"({"type":"string","format":"email"})",
          {"\"a.b+c@example.co.uk\""},
          {"\"a@b\"", "\"a..b@c.de\"", "\"@c.de\"", "\"a@-c.de\""}}});
}

TEST(JsonSchemaTest, Objects) {
  Check(
      {{R"({"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"null"}},
             "required":["a"],"additionalProperties":false})",
        {R"({"b":1,"a":null})", R"({"a":null})", "{\n  \"b\" : 1,\n  \"a\": null\n}"},
        {"{}", R"({"b":1})", R"({"a":null,"b":1})", R"({"a":null,})", R"({"a":null,"c":1})"}},
       {R"({"type":"object"})", {"{}", R"({"x":{"y":[1]},"z":2})"}, {R"({"x"})"}},
       {R"({"type":"object","properties":{"a":{},"ab":{}},"additionalProperties":{"type":"null"}})",
        {R"({"a":1,"b":null})", R"({"abc":null,"":null})", R"({"ab":2})"},
        {R"({"b":1})", R"({"b":null,"a":1})", R"({"abc":1})", "{\"\\u0061\":null}"}},
       {R"({"type":"object","required":["x"],"additionalProperties":{"type":"integer"}})",
        {R"({"x":1})", R"({"x":1,"y":2})"},
        {"{}", R"({"y":1})", R"({"x":null})"}}});
}

TEST(JsonSchemaTest, Arrays) {
  Check(
      {{R"({"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3})",
        {"[1]", "[1, 2,3]", "[\n  1\n]"},
        {"[]", "[1,2,3,4]", "[null]"}},
       {R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"null"}],"items":{"type":"string"}})",
        {"[]", "[1]", "[1,null]", "[1,null,\"a\",\"b\"]"},
        {"[null]", "[1,2]", "[1,null,2]"}},
       {R"({"type":"array","prefixItems":[{"type":"integer"}],"items":false,"minItems":1})",
        {"[1]"},
        {"[]", "[1,1]"}},
       {R"({"type":"array","maxItems":0})", {"[]", "[ ]"}, {"[1]"}}});
}

TEST(JsonSchemaTest, Combinations) {
  Check({{R"({"enum":[1,"a",null],"type":["string","null"]})", {"\"a\"", "null"}, {"1", "\"b\""}},
         {R"({"enum":["ab","abc","b"],"pattern":"^a","maxLength":2})",
          {"\"ab\""},
          {"\"abc\"", "\"b\""}},
         {R"({"const":{"a":[1,"x"]}})", {R"({"a":[1,"x"]})", R"({ "a": [1, "x"] })"}, {"{}"}},
         {R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})",
          {"12", "\"a\""},
          {"\"ab\"", "null"}},
         {R"({"oneOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"null"}},
              "required":["k","x"]},{"type":"object","properties":{"k":{"const":"b"}},
              "required":["k"]}]})",
          {R"({"k":"a","x":null})", R"({"k":"b"})"},
          {R"({"k":"a"})", R"({"k":"c"})"}},
         {R"({"allOf":[{"type":"integer","minimum":3},{"maximum":5}]})", {"3", "5"}, {"2", "6"}},
         {R"({"$ref":"#/$defs/x%25~1y","$defs":{"x%/y":{"type":"null"}}})", {"null"}, {"1"}},
         {R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],
             "anyOf":[{"properties":{"a":{"minimum":5}}},{"properties":{"a":{"maximum":-5}}}],
             "additionalProperties":false})",
          {R"({"a":7})", R"({"a":-7})"},
          {R"({"a":0})"}}});
}

// Each of them names the next one twice.
TEST(JsonSchemaTest, WhatIsSaidTwiceIsFollowedOnce) {
  constexpr int kSchemas = 40;
  const auto named = [](int i) { return absl::StrCat(R"({"$ref":"#/$defs/)", i, "\"}"); };
  std::string schemas = absl::StrCat("\"", kSchemas, R"(":{"anyOf":[{"const":1},{"const":2}]})");
  for (int i = 0; i < kSchemas; ++i) {
    absl::StrAppend(&schemas, ",\"", i, R"(":{"allOf":[)", named(i + 1), ",", named(i + 1), "]}");
  }
  Check({{absl::StrCat(R"({"allOf":[)", named(0), ",", named(1), R"(],"$defs":{)", schemas, "}}"),
          {"1", "2"},
          {"3"}}});
}

// Many parts that each speak of many names, at once or in many ways.
TEST(JsonSchemaTest, WhatEachPartSaysOfEachNameIsBounded) {
  std::string further, named, ways;
  for (int i = 0; i < 1000; ++i) {
    absl::StrAppend(&further, R"({"additionalProperties":{}},)");
    absl::StrAppend(&named, R"({"properties":{"p)", i, R"(":true}},)");
  }
  for (int i = 0; i < 11; ++i) ways += R"({"anyOf":[{"minItems":1},{"maxItems":5}]},)";
  for (const std::string& more : {further, ways}) {
    const std::string schema = absl::StrCat(R"({"type":"object","allOf":[)", more, named, "true]}");
    EXPECT_THAT(Refusal(JsonSchemaFormat{schema}), HasSubstr("grown too large"));
  }
}

TEST(JsonSchemaTest, Recursion) {
  const std::string list =
      R"({"$ref":"#/$defs/n","$defs":{"n":{"type":"object","required":["v"],"additionalProperties":
      false,"properties":{"v":{"type":"integer"},"next":{"$ref":"#/$defs/n"}}}}})";
  Check({{list, {R"({"v":1})", R"({"v":1,"next":{"v":2,"next":{"v":3}}})"}, {R"({"next":{}})"}}});
}

TEST(JsonSchemaTest, NothingOpensBeyondTheDeepestNesting) {
  const JsonSchemaFormat any{"true"};
  const std::string deepest =
      std::string(kMaxAnswerNesting, '[') + std::string(kMaxAnswerNesting, ']');
  EXPECT_TRUE(Accepts(any, deepest));
  EXPECT_FALSE(Accepts(any, "[" + deepest + "]"));
}

TEST(JsonSchemaTest, IntegerRangesHaveTheIntegersBetween) {
  for (const auto& [first, last] : std::vector<std::pair<int, int>>{
           {0, 0}, {-3, 17}, {7, 7}, {99, 1001}, {-1200, -98}, {10, 99}, {-1, 1}, {5, 4}}) {
    Expressions expressions;
    const Expr range = IntegerRange(first, last, expressions);
    for (int i = -1500; i <= 1500; ++i) {
      EXPECT_EQ(expressions.Matches(range, std::to_string(i)), first <= i && i <= last)
          << i << " in " << first << ".." << last;
    }
    EXPECT_FALSE(expressions.Matches(range, "-0"));
    EXPECT_FALSE(expressions.Matches(range, "00"));
  }
  Expressions expressions;
  const Expr all = IntegerRange(-kMaxAnswerInteger, kMaxAnswerInteger, expressions);
  EXPECT_TRUE(expressions.Matches(all, "-999999999999999999"));
  EXPECT_FALSE(expressions.Matches(all, "1000000000000000000"));
}

TEST(JsonSchemaTest, HostileSchemasAreRefused) {
  std::string deep = "{}";
  for (int i = 0; i < 40; ++i) deep = R"({"properties":{"a":)" + deep + "}}";
  EXPECT_THAT(Refusal(JsonSchemaFormat{deep}), HasSubstr("json_schema"));
  std::string branches = "{\"allOf\":[";
  for (int i = 0; i < 8; ++i) {
    branches +=
        R"({"anyOf":[{"type":"null"},{"type":"string"},{"type":"integer"},{"type":"array"}]},)";
  }
  branches.back() = ']';
  EXPECT_THAT(Refusal(JsonSchemaFormat{branches + "}"}), HasSubstr("ways to choose"));
  EXPECT_THAT(Refusal(JsonSchemaFormat{std::string(kMaxSchemaBytes + 1, ' ')}), HasSubstr("bytes"));
  EXPECT_THAT(Refusal(JsonSchemaFormat{"{\"type\":\"null\",\"type\":\"null\"}"}),
              HasSubstr("type"));
  EXPECT_THAT(
      Refusal(JsonSchemaFormat{R"({"type":"string","pattern":"a.{30}b.{30}c","maxLength":2000})"}),
      HasSubstr("/pattern"));
}

}  // namespace
}  // namespace thinkwire::worker::grammar
