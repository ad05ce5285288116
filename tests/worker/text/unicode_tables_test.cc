#include "worker/text/unicode_tables.h"

#include <gtest/gtest.h>
#include <unicode/uchar.h>
#include <unicode/uversion.h>

namespace thinkwire::worker::text {
namespace {

// ICU has the same database, in a version of its own: only characters that both know are compared.
TEST(UnicodeTablesTest, WordCharactersAndWhiteSpaceAreIcus) {
  int compared = 0;
  for (char32_t c = 0; c < 0x110000; ++c) {
    const auto code_point = static_cast<UChar32>(c);
    UVersionInfo age = {};
    u_charAge(code_point, age);
    if (age[0] == 0 || age[0] > 15) continue;
    ++compared;
    const bool word =
        u_hasBinaryProperty(code_point, UCHAR_ALPHABETIC) ||
        (U_GET_GC_MASK(code_point) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
        u_hasBinaryProperty(code_point, UCHAR_JOIN_CONTROL);
    ASSERT_EQ(IsIn(kWordCharacters, c), word) << std::hex << static_cast<std::uint32_t>(c);
    ASSERT_EQ(IsIn(kWhiteSpace, c), u_isUWhiteSpace(code_point) != 0)
        << std::hex << static_cast<std::uint32_t>(c);
  }
  EXPECT_GT(compared, 280'000);
}

TEST(UnicodeTablesTest, RangesAreSortedAndApart) {
  for (const auto ranges : {kWordCharacters, kWhiteSpace, kUnicode9, kUnsureInFormC}) {
    EXPECT_FALSE(ranges.empty());
    for (std::size_t i = 1; i < ranges.size(); ++i) {
      ASSERT_LT(ranges[i - 1].last, ranges[i].first);
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::text
