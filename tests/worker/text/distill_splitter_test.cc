#include "worker/text/distill_splitter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <vector>

#include "common/utf8.h"
#include "worker/text/regex_splitter.h"

namespace thinkwire::worker::text {
namespace {

constexpr char kQwen[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kLlama[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The hand-written cutting of a pattern beside the regular expression itself.
class DistillSplitterTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    distill_ = DistillSplitter::For(GetParam());
    ASSERT_TRUE(distill_.has_value());
    auto regex = RegexSplitter::Create({GetParam()});
    ASSERT_TRUE(regex.ok()) << regex.status();
    regex_.emplace(*std::move(regex));
  }

  using Ends = std::vector<std::size_t>;

  Ends DistillEnds(std::string_view text) const {
    Ends ends;
    distill_->Split(text, [&](std::span<const std::string_view> pieces, std::string_view) {
      for (const std::string_view piece : pieces) ends.push_back(EndIn(text, piece));
    });
    return ends;
  }

  Ends RegexEnds(std::string_view text) const {
    Ends ends;
    regex_->Split(text, [&](std::string_view piece) { ends.push_back(EndIn(text, piece)); });
    return ends;
  }

  static std::size_t EndIn(std::string_view text, std::string_view piece) {
    return static_cast<std::size_t>(piece.data() + piece.size() - text.data());
  }

  void ExpectSame(std::string_view text) const {
    ASSERT_EQ(DistillEnds(text), RegexEnds(text)) << testing::PrintToString(text);
  }

  std::optional<DistillSplitter> distill_;
  std::optional<RegexSplitter> regex_;
};

TEST_P(DistillSplitterTest, CutsEveryCodePointAsTheRegex) {
  std::string text;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string character;
    AppendUtf8(c, &character);
    text += "a" + character + "b " + character + "1'" + character;
    if (c % 64 != 63) continue;
    ExpectSame(text);
    if (HasFatalFailure()) return;
    text.clear();
  }
  EXPECT_TRUE(text.empty());
}

TEST_P(DistillSplitterTest, CutsRandomTextsAsTheRegex) {
  const std::array<std::string, 34> parts = {
      " ", " ",      " ",      "\n",     "\r",     "\t",         "a",     "b",  "S",
      "t", "r",      "E",      "l",      "L",      "m",          "v",     "d",  "1",
      "2", "'",      "'",      "!",      "_",      "\u00A0",     "é",     "好", "\u0301",
      "½", "\u017F", "\u2028", "\u0085", "\u3000", "\U0001F642", "\u212A"};
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    std::string text;
    for (std::size_t length = random() % 14; length > 0; --length)
      text += parts[random() % parts.size()];
    ExpectSame(text);
    if (HasFatalFailure()) return;
  }
}

// Long enough for pieces to cross the ends of blocks at every place, mostly ASCII and mostly runs,
// as what decides where a piece begins is what stands beside it.
TEST_P(DistillSplitterTest, CutsLongTextsAsTheRegex) {
  const std::array<std::string_view, 26> parts = {" ",      "  ",
                                                  "\n",     "\n\n",
                                                  "\r\n",   "\t",
                                                  "a",      "The",
                                                  "'s",     "'",
                                                  "'ll",    "'RE",
                                                  "'v",     "7",
                                                  "1234",   "0",
                                                  "!",      "!?",
                                                  "(",      "===",
                                                  "\v",     "\f",
                                                  "\u00E9", "\u3000",
                                                  "\u017F", "long_words_of_letters"};
  std::mt19937 random(2);
  for (int i = 0; i < 20'000; ++i) {
    // Some texts of few parts, whose runs are long.
    const std::size_t num_parts = random() % 3 == 0 ? 4 : parts.size();
    const std::size_t first_part = random() % parts.size();
    std::string text;
    for (std::size_t length = 100 + random() % 60; length > 0; --length) {
      text += parts[(first_part + random() % num_parts) % parts.size()];
    }
    ExpectSame(text);
    if (HasFatalFailure()) return;
  }
}

// Every text of up to 7 characters that differ in what the pattern tells apart.
TEST_P(DistillSplitterTest, CutsAllShortTextsAsTheRegex) {
  constexpr std::string_view kCharacters = " \t\n's17!";
  std::string text;
  for (int length = 1; length <= 7; ++length) {
    int num_texts = 1;
    for (int i = 0; i < length; ++i) num_texts *= static_cast<int>(kCharacters.size());
    for (int number = 0; number < num_texts; number += length == 7 ? 7 : 1) {
      text.clear();
      for (int i = 0, rest = number; i < length; ++i) {
        text += kCharacters[rest % kCharacters.size()];
        rest /= static_cast<int>(kCharacters.size());
      }
      ExpectSame(text);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(DistillSplitterTest, HandsOverTheTextItself) {
  const std::string text = "I'll  pay 1234 €,\r\n\r\n x";
  std::string joined;
  distill_->Split(text, [&](std::span<const std::string_view> pieces, std::string_view whole) {
    EXPECT_EQ(whole.data(), text.data());
    for (const std::string_view piece : pieces) {
      EXPECT_EQ(piece.data(), text.data() + joined.size());
      joined.append(piece);
    }
  });
  EXPECT_EQ(joined, text);
}

INSTANTIATE_TEST_SUITE_P(Family, DistillSplitterTest, testing::Values(kQwen, kLlama),
                         [](const testing::TestParamInfo<const char*>& info) {
                           return std::string(info.param == kQwen ? "Qwen" : "Llama");
                         });

TEST(DistillSplitter, IsOnlyForPatternsToTheLetter) {
  EXPECT_FALSE(DistillSplitter::For("").has_value());
  EXPECT_FALSE(DistillSplitter::For(std::string(kQwen) + "|x").has_value());
  EXPECT_FALSE(DistillSplitter::For("(?:" + std::string(kQwen) + ")").has_value());
}

}  // namespace
}  // namespace thinkwire::worker::text
