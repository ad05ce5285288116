#include "worker/text/nfc.h"

#include <gtest/gtest.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include <random>
#include <string>
#include <vector>

#include "common/utf8.h"

namespace thinkwire::worker::text {
namespace {

// ICU's normaliser over the characters of Unicode 9.0.
class NfcTest : public testing::Test {
 protected:
  static icu::UnicodeSet Set(const char16_t* pattern) {
    UErrorCode error = U_ZERO_ERROR;
    icu::UnicodeSet set(pattern, error);
    EXPECT_TRUE(U_SUCCESS(error));
    return set;
  }

  static const icu::Normalizer2& Unfiltered() {
    UErrorCode error = U_ZERO_ERROR;
    return *icu::Normalizer2::getNFCInstance(error);
  }

  void ExpectSame(const std::string& utf8) const {
    UErrorCode error = U_ZERO_ERROR;
    icu::UnicodeString normalized;
    icu_.normalize(icu::UnicodeString::fromUTF8(utf8), normalized, error);
    std::string expected;
    normalized.toUTF8String(expected);
    ASSERT_TRUE(U_SUCCESS(error));
    std::string buffer = "what was there before";
    ASSERT_EQ(NormalizeNfc(utf8, &buffer), expected) << testing::PrintToString(utf8);
  }

  const icu::UnicodeSet characters_ = Set(u"[:age=9.0:]");
  const icu::FilteredNormalizer2 icu_{Unfiltered(), characters_};
};

TEST_F(NfcTest, NormalizesEveryCodePointAsIcu) {
  std::string text;
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string character;
    AppendUtf8(c, &character);
    text += character + "e" + character + "\u0301" + character + " \u0327" + character + "\u0323";
    if (c % 256 != 255) continue;
    ExpectSame(text);
    if (HasFatalFailure()) return;
    text.clear();
  }
  EXPECT_TRUE(text.empty());
}

TEST_F(NfcTest, NormalizesRandomTextsAsIcu) {
  // All that may change, among letters and marks that came later than Unicode 9.0.
  const icu::UnicodeSet changing =
      Set(u"[[:NFC_QC=No:][:NFC_QC=Maybe:][:^ccc=0:][:NFD_QC=No:]-[\\uAC00-\\uD7A3]]");
  const std::u32string others =
      U"ae \uAC00\uAC01\u1100\u1161\u11A8\u0F71\u0F72\u09C7\u0DD9"
      U"\U00011935\U00011930\U0001193F\u1ABF";
  std::mt19937 random(1);
  for (int i = 0; i < 50'000; ++i) {
    std::string text;
    for (std::size_t length = random() % 9; length > 0; --length) {
      const bool changes = random() % 4 != 0;
      AppendUtf8(changes ? static_cast<char32_t>(changing.charAt(
                               static_cast<std::int32_t>(random() % changing.size())))
                         : others[random() % others.size()],
                 &text);
    }
    ExpectSame(text);
    if (HasFatalFailure()) return;
  }
}

TEST(Nfc, ComposesAndLeavesComposedTextAlone) {
  std::string buffer;
  EXPECT_EQ(NormalizeNfc("Cafe\u0301", &buffer), "Café");
  EXPECT_EQ(NormalizeNfc("\u212B \u1112\u1161\u11AB", &buffer), "Å 한");
  const std::string composed = "Café 한";
  EXPECT_EQ(NormalizeNfc(composed, &buffer).data(), composed.data());
}

TEST(Nfc, CharactersAfterUnicode9Stay) {
  std::string buffer;
  // U+07FD (Unicode 11) would be reordered before U+0301, U+11935 U+11930 (13) composed.
  const std::string later = "x\u0301\u07FD \U00011935\U00011930";
  EXPECT_EQ(NormalizeNfc(later, &buffer), later);
}

TEST(Nfc, MarksInOrderNeedNoCopy) {
  const std::string text = "na\u00EFve \u0915\u094D\u0937 \u05E9\u05B8\u05C1 \u597D \U0001F642";
  std::string buffer;
  EXPECT_EQ(NormalizeNfc(text, &buffer).data(), text.data());
}

// Every second mark has to go before all others: with an insertion for each, that takes hours.
TEST(Nfc, SortsManyMarksInLittleTime) {
  std::string text;
  std::string sorted;
  for (int i = 0; i < 500'000; ++i) text += "\u0301\u0327";
  for (int i = 0; i < 500'000; ++i) sorted += "\u0327";
  for (int i = 0; i < 500'000; ++i) sorted += "\u0301";
  std::string buffer;
  EXPECT_TRUE(NormalizeNfc(text, &buffer) == sorted);
}

}  // namespace
}  // namespace thinkwire::worker::text
