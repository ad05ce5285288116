#include "router/consensus/answer_normaliser.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "router/consensus/answer_text.h"
#include "router/consensus/number.h"
#include "router/consensus/units.h"

namespace thinkwire::router::consensus {
namespace {

std::string Free(const std::string& text) {
  return NormaliseAnswer(text, AnswerKind::kFree).value_or("(none)");
}

struct Case {
  std::string text;
  std::string normalised;
};

void ExpectAll(const std::vector<Case>& cases) {
  for (const Case& one : cases) EXPECT_EQ(Free(one.text), one.normalised) << one.text;
}

TEST(AnswerNormaliserTest, FindsTheResult) {
  ExpectAll({
      {"So \\boxed{4}. No: \\boxed{5}.", "5"},
      {"\\boxed{\\frac{1}{2}}", "0.5"},
      {"\\boxed{\\boxed{7}}", "7"},
      {"\\fbox{8}", "8"},
      {"\\boxed 9 and more", "9"},
      {"$\\boxed{5}$ but \\boxed{6", "5"},
      {"\\boxed{", "(none)"},
      {"a } stray brace, then \\boxed{5}", "5"},
      {"a { stray brace, then \\boxed{5}", "5"},
      {"\\boxed{\\{1, 2\\}}", "\\{1,2\\}"},
      {"\\boxed{}", "(none)"},
      {"Final Answer: The final answer is $\\frac{3}{4}$. I hope it is correct.", "0.75"},
      {"**Final Answer**\n\n**42**", "42"},
      {"The answers are 3 and 4.", "3,4"},
      {"Answer: 12\nThank you!", "12"},
      {"The answer is 12.\nI hope this answer is of use.", "12"},
      {"some words\n#### 1,200", "1200"},
      {"#### Step 1\nIt is so.\n27 + 48 = 75", "75"},
      {"first\n\nlast line.\n---\n", "last line"},
      {"75", "75"},
      {"", "(none)"},
      {" \n ", "(none)"},
      {"...", "(none)"},
  });
}

TEST(AnswerNormaliserTest, NumbersCountByTheirValue) {
  ExpectAll({
      {"2.0", "2"},
      {"2.", "2"},
      {".50", "0.5"},
      {"007", "7"},
      {"-0", "0"},
      {"+5", "5"},
      {"\u22125", "-5"},
      {"1,234,567.80", "1234567.8"},
      {"1{,}000", "1000"},
      {"1\\,000", "1000"},
      {"12 345", "12345"},
      {"12,34", "12,34"},
      {"1/2", "0.5"},
      {"\\dfrac{2}{4}", "0.5"},
      {"\\frac12", "0.5"},
      {"\\frac1{3}", "1/3"},
      {"\\tfrac{10}{4}", "2.5"},
      {"-\\frac{2}{6}", "-1/3"},
      {"\\frac{-2}{6}", "-1/3"},
      {"\\frac{-2}{-6}", "1/3"},
      {"1\\frac{1}{2}", "1.5"},
      {"1 1/2", "1.5"},
      {"5/0", "5/0"},
      {"1/3", "1/3"},
      {"0.333", "0.333"},
      {"3 \\times 10^8", "300000000"},
      {"3*10^{-2}", "0.03"},
      {"1.5e3", "1500"},
      {"123456789012345678901234567890.0", "123456789012345678901234567890"},
      {"1/123456789012345678901", "1/123456789012345678901"},
      {"1/2/2020", "1/2/2020"},
  });
}

TEST(AnswerNormaliserTest, UnitsAndSignsAroundANumberSayNothing) {
  ExpectAll({
      {"\\$18.50", "18.5"},
      {"$18.50$", "18.5"},
      {"50\\%", "50"},
      {"50 percent", "50"},
      {"90^\\circ", "90"},
      {"90^{\\circ}", "90"},
      {"90\u00b0", "90"},
      {"90 degrees", "90"},
      {"5\\text{ cm}", "5"},
      {"5\\,\\text{m}", "5"},
      {"5 \\mathrm{km/h}", "5"},
      {"12 square meters", "12"},
      {"12\\text{ m}^2", "12"},
      {"60 miles per hour", "60"},
      {"20 dollars", "20"},
      {"\u20ac20", "20"},
      {"7 ways.", "7"},
      {"5n", "5n"},
      {"5x", "5x"},
      {"5*n", "5*n"},
      {"5^2", "5^2"},
      {"5!", "5!"},
  });
}

TEST(AnswerNormaliserTest, LooksSayNothing) {
  ExpectAll({
      {"x = 5", "5"},
      {"$x=5$", "5"},
      {"f(2) = 2 + 3 = 5", "5"},
      {"x \\le 5", "x\\le5"},
      {"x >= 5", "x>=5"},
      {"\\left( 1, \\frac{1}{2} \\right)", "(1,0.5)"},
      {"(1,234)", "(1,234)"},
      {"(x, y) = (1.0, 2)", "(1,2)"},
      {"[0, 1)", "[0,1)"},
      {"x = 1 \\text{ or } x = 2", "1,2"},
      {"x=1,y=2", "1,2"},
      {"10, 100", "10,100"},
      {"2\\sqrt{3}", "2\\sqrt{3}"},
      {"2\\sqrt3", "2\\sqrt{3}"},
      {"2 \\sqrt 3", "2\\sqrt{3}"},
      {"\\frac{\\pi}{2}", "\\frac{\\pi}{2}"},
      {"\\frac\\pi2", "\\frac{\\pi}{2}"},
      {"\u03c0/2", "\\pi/2"},
      {"x^{2} + 1", "x^2+1"},
      {"2**3", "2^3"},
      {"**Yes.**", "yes"},
      {"\\text{Yes}", "yes"},
      {"The red box", "red box"},
      {"(B)", "b"},
      {"\\textbf{(B)}", "b"},
      {"B)", "b"},
      {"b", "b"},
      {"\\mathbf{B}.", "b"},
      {"\\Delta", "\\Delta"},
      {"`12`", "12"},
      {"\\[ 12 \\]", "12"},
      {"p\u00e4r\u00e1", "p\u00e4r\u00e1"},
  });
}

TEST(AnswerNormaliserTest, AFormatSaysHowAnswersAreCompared) {
  EXPECT_EQ(NormaliseAnswer("1.0 cm", AnswerKind::kExact), "1.0 cm");
  EXPECT_EQ(NormaliseAnswer("", AnswerKind::kExact), std::nullopt);
  const auto json = [](const std::string& text) {
    return NormaliseAnswer(text, AnswerKind::kJson).value_or("(none)");
  };
  EXPECT_EQ(json(R"({"b": [1, 2.0], "a": "x"})"), R"({"a":"x","b":[1,2]})");
  EXPECT_EQ(json("2.50"), "2.5");
  EXPECT_NE(json(R"({"a": "1"})"), json(R"({"a": 1})"));
  EXPECT_EQ(json(R"({"a": )"), R"({"a": )") << "cut off: as it stands";
}

TEST(AnswerNormaliserTest, LongResultsCountByTheirHash) {
  const std::string a(100'000, 'a');
  const std::string one = Free(a + "b");
  EXPECT_LE(one.size(), kMaxNormalisedBytes);
  EXPECT_EQ(one, Free("other line\n" + a + "b"));
  EXPECT_NE(one, Free(a + "c"));
}

// A thousand times the text may take a few thousand times as long, not a million times.
TEST(AnswerNormaliserTest, HostileTextTakesLinearTime) {
  for (const std::string part :
       {"\\boxed{", "{", "}", "\\", "answer ", "answer is\n", "\\frac{", "\\frac", "1,111", "(",
        "=", "\\text{", "####\n", "\xff", "$", "is ", "\\boxed{1}", "**", "1/"}) {
    std::string text;
    while (text.size() < 2'000'000) text += part;
    const auto begin = std::chrono::steady_clock::now();
    NormaliseAnswer(text, AnswerKind::kFree);
    NormaliseAnswer(text, AnswerKind::kJson);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10)) << part;
    for (std::size_t size : {4000, 4095}) NormaliseAnswer("\\boxed " + text.substr(0, size), {});
  }
}

TEST(AnswerNormaliserTest, AnyTextHasAShortNormalisedFormOrNone) {
  const std::vector<std::string> parts = {
      "\\boxed{", "{",    "}",      "\\",  "\\frac", "\\sqrt", "\\text{", "answer", " is ",
      "\n",       "1",    "23",     ",",   "000",    ".",      "/",       "-",      "(",
      ")",        "[",    "=",      "$",   " ",      "x",      "^",       "cm",     "%",
      "**",       "\xff", "\u00b0", "and", "*10^",   "e",      "_",       ":"};
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 20'000; ++round) {
    std::string text;
    for (std::size_t size = random() % 30; size > 0; --size) text += parts[random() % parts.size()];
    const auto normalised = NormaliseAnswer(text, AnswerKind::kFree);
    ASSERT_LE(normalised.value_or("").size(), kMaxNormalisedBytes) << text;
    ASSERT_NE(normalised, "") << text;
  }
}

TEST(AnswerNormaliserTest, UnitsAreWordsAndWhatJoinsThem) {
  for (const char* unit : {"cm", "meters", "km/h", "m^2", "square feet", "miles per hour", "n"}) {
    EXPECT_TRUE(IsUnit(unit)) << unit;
  }
  for (const char* other : {"", "x", "per", "cm!", "/s", "^2", "abacus", "pi"}) {
    EXPECT_FALSE(IsUnit(other)) << other;
  }
}

TEST(AnswerNormaliserTest, AWholeTextIsANumberOrNone) {
  EXPECT_EQ(ReadNumber("12"), "12");
  EXPECT_EQ(ReadNumber("12a"), std::nullopt);
  EXPECT_EQ(ReadNumber(""), std::nullopt);
  EXPECT_EQ(ReadNumber("-"), std::nullopt);
  EXPECT_EQ(ReadNumber("."), std::nullopt);
  EXPECT_EQ(ReadNumber("\\frac{1}{0}"), std::nullopt);
}

}  // namespace
}  // namespace thinkwire::router::consensus
