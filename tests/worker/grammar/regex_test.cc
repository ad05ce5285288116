#include "worker/grammar/regex.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/peer_limits.h"
#include "tests/worker/grammar/grammar_testing.h"

namespace thinkwire::worker::grammar {
namespace {

using testing::HasSubstr;

struct Case {
  std::string pattern;
  std::vector<std::string> matches;
  std::vector<std::string> others;
};

TEST(RegexTest, MatchesTheWholeAnswer) {
  const std::vector<Case> cases = {
      {"abc", {"abc"}, {"", "ab", "abcd", "xabc"}},
      {"^abc$", {"abc"}, {"ab"}},
      {"a|bc|", {"a", "bc", ""}, {"b", "abc"}},
      {"a*b+c?", {"b", "aabbc"}, {"a", "ac", "bcc"}},
      {"a{2}b{1,3}c{2,}", {"aabcc", "aabbbcccc"}, {"abcc", "aabbbbcc", "aabc"}},
      {"(ab|c)*?d", {"d", "abcabd"}, {"abc"}},
      {"(?:a|(?<name>b)){3}", {"aba"}, {"ab", "abab"}},
      {"[a-c^\\]-]+", {"abc^]-"}, {"d", ""}},
      {"[^a-c]", {"d", "\n", "€"}, {"a", "de"}},
      {"[]x|y", {"y"}, {"x"}},
      {"[^]", {"x", "\n"}, {""}},
      {"\\d\\w\\s\\D\\W\\S", {"1_ x-x"}, {"a_ x-x", "1_ 1-x", "1_ x_x", "1_ x- "}},
      {".", {"a", "€", "😀"}, {"\n", "\r", "\xE2\x80\xA8", "ab"}},
      {"[ä-ü]{2}", {"äü", "öö"}, {"aa", "\xC3\xC3"}},
      {"\\u00e4\\ud83d\\ude00\\x41\\t\\.", {"ä😀A\t."}, {"ä😀A\tx"}},
      {"a{0}b{0,1}", {"", "b"}, {"a"}},
  };
  for (const Case& c : cases) {
    for (const auto& text : c.matches) EXPECT_TRUE(Accepts(RegexFormat{c.pattern}, text)) << text;
    for (const auto& text : c.others) EXPECT_FALSE(Accepts(RegexFormat{c.pattern}, text)) << text;
  }
}

TEST(RegexTest, RefusesByName) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"(?=a)", "lookaround"},
      {"(?<!a)", "lookaround"},
      {"(a)\\1", "backreferences"},
      {"\\k<n>", "backreferences"},
      {"\\bx", "word boundaries"},
      {"\\p{L}", "\\p"},
      {"(?i)a", "flags"},
      {"a++", "possessive"},
      {"a**", "two quantifiers"},
      {"*a", "nothing before"},
      {"(a", "without its )"},
      {"a)", "without its ("},
      {"[a", "without its ]"},
      {"[b-a]", "backwards"},
      {"[\\d-z]", "range between"},
      {"a{3,2}", "m above n"},
      {"a{x}", "needs a count"},
      {"{", "no quantifier"},
      {"a^b", "stand where"},
      {"a$b", "at the end only"},
      {"(^a)", "stand where"},
      {"\\", "at the end"},
      {"\\q", "\\q"},
      {"\\u12", "too few"},
      {"\\ud800", "surrogate"},
      {"a{99999}", "a count above"},
      {"((a{100}){100}){100}", "characters with repetitions"}};
  for (const auto& [pattern, says] : cases) {
    EXPECT_THAT(Refusal(RegexFormat{pattern}), HasSubstr(says)) << pattern;
  }
  EXPECT_THAT(Refusal(RegexFormat{std::string(kMaxPatternBytes + 1, 'a')}), HasSubstr("longer"));
  EXPECT_THAT(Refusal(RegexFormat{std::string(100, '(') + std::string(100, ')')}),
              HasSubstr("deep"));
  EXPECT_THAT(Refusal(RegexFormat{"\xFF"}), HasSubstr("UTF-8"));
  EXPECT_THAT(Refusal(RegexFormat{"[]"}), HasSubstr("accepts nothing"));
}

}  // namespace
}  // namespace thinkwire::worker::grammar
