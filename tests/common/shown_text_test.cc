#include "common/shown_text.h"

#include <gtest/gtest.h>

#include <string>

#include "common/utf8.h"

namespace thinkwire {
namespace {

TEST(ShownText, IsShortPrintableAndUtf8) {
  EXPECT_EQ(ShownText("qwen \u00e9"), "qwen \u00e9");
  EXPECT_EQ(ShownText("a\n\"b\""), "a\\n\\\"b\\\"");
  EXPECT_EQ(ShownText(std::string(121, 'a')), std::string(120, 'a') + "...");
  EXPECT_EQ(ShownText(std::string(119, 'a') + "\u00e9"), std::string(119, 'a') + "...");
  EXPECT_EQ(ShownText("\xff"), "\uFFFD");
  EXPECT_TRUE(IsValidUtf8(ShownText(std::string(1000, '\x9c'))));
}

TEST(ShownLine, IsOneLineWithItsQuotes) {
  EXPECT_EQ(ShownLine("\"a\": \u00e9\n\x1b[31m", 100), "\"a\": \u00e9??[31m");
  EXPECT_EQ(ShownLine("abcdef", 3), "abc...");
}

}  // namespace
}  // namespace thinkwire
