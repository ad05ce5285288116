#include "common/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace thinkwire {
namespace {

TEST(Utf8, EveryCodePointRoundTrips) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string bytes;
    AppendUtf8(c, &bytes);
    const Utf8Step step = DecodeUtf8(bytes);
    ASSERT_EQ(step.kind, Utf8Step::Kind::kCharacter) << static_cast<std::uint32_t>(c);
    ASSERT_EQ(step.length, bytes.size()) << static_cast<std::uint32_t>(c);
    ASSERT_EQ(step.code_point, c);
    for (std::size_t cut = 1; cut < bytes.size(); ++cut) {
      ASSERT_EQ(DecodeUtf8(bytes.substr(0, cut)).kind, Utf8Step::Kind::kIncomplete)
          << static_cast<std::uint32_t>(c);
    }
  }
}

TEST(Utf8, RefusesWhatUnicodeForbids) {
  EXPECT_TRUE(IsValidUtf8("a\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x99\x82"));
  EXPECT_TRUE(IsValidUtf8(""));
  for (const char* bytes :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "a\xE4\xBD", "\xE4\xBDz"}) {
    EXPECT_FALSE(IsValidUtf8(bytes)) << bytes;
  }
}

TEST(Utf8, IsValidAtTheStandardsEdges) {
  for (const char* good : {"", "a", "\x7f", "\u0080", "\u07ff", "\u0800", "\ud7ff", "\ue000",
                           "\uffff", "\U00010000", "\U0010FFFF"}) {
    EXPECT_TRUE(IsValidUtf8(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "a\xff"}) {
    EXPECT_FALSE(IsValidUtf8(bad)) << bad;
  }
  EXPECT_TRUE(IsValidUtf8(std::string_view("\0", 1)));
}

// The examples of the Unicode standard, tables 3-8 to 3-11.
TEST(Utf8, ReplacesMaximalSubparts) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
}

TEST(Utf8, CountsAsciiBytesUpToTheFirstOther) {
  for (std::size_t length = 0; length < 40; ++length) {
    const std::string ascii(length, 'x');
    EXPECT_EQ(NumAsciiBytesAtBegin(ascii), length);
    EXPECT_EQ(NumAsciiBytesAtBegin(ascii + "\u00E9 and more text"), length);
    EXPECT_FALSE(IsValidUtf8(ascii + "\xFF and more text"));
  }
}

TEST(CutText, KeepsWhatFits) {
  EXPECT_EQ(CutText("", 0), "");
  EXPECT_EQ(CutText("abc", 3), "abc");
  EXPECT_EQ(CutText("\u00e9\u00e9", 4), "\u00e9\u00e9");
}

TEST(CutText, NeverCutsInsideACodePoint) {
  EXPECT_EQ(CutText("abcd", 3), "abc...");
  EXPECT_EQ(CutText("a\u00e9\u00e9", 4), "a\u00e9...");
  EXPECT_EQ(CutText("\U0001F600", 3), "...");
  std::string text = "a";
  for (int i = 0; i < 60; ++i) text += "\u00e9";
  for (std::size_t max = 0; max < text.size(); ++max) {
    EXPECT_TRUE(IsValidUtf8(CutText(text, max))) << max;
    EXPECT_LE(CutText(text, max).size(), max + 3);
  }
}

TEST(CutText, IsValidWhateverTheBytesAre) {
  const std::string r(kReplacementCharacter);
  EXPECT_EQ(CutText("a\xffz", 100), "a" + r + "z");
  EXPECT_EQ(CutText("\xe4\xbd", 100), r);
  EXPECT_EQ(CutText(std::string(1000, '\xff'), 10), r + r + r + "...");
}

}  // namespace
}  // namespace thinkwire
