#include "worker/text/added_token_matcher.h"

#include <gtest/gtest.h>

namespace thinkwire::worker::text {
namespace {

// Text as itself, tokens as "#id".
std::vector<std::string> Scan(const std::vector<AddedToken>& tokens, std::string_view text) {
  AddedTokenMatcher matcher;
  for (const AddedToken& token : tokens) matcher.Add(token, token.content);
  std::vector<std::string> parts;
  matcher.Scan(
      text, [&](std::string_view part) { parts.emplace_back(part); },
      [&](std::int32_t id) { parts.push_back("#" + std::to_string(id)); });
  return parts;
}

using Strings = std::vector<std::string>;

TEST(AddedTokenMatcher, LeftmostThenLongestWins) {
  const std::vector<AddedToken> tokens = {
      {.id = 1, .content = "<a>"}, {.id = 2, .content = "<a>b"}, {.id = 3, .content = "a>bc"}};
  EXPECT_EQ(Scan(tokens, "x<a>bcy<a>"), (Strings{"x", "#2", "cy", "#1"}));
  EXPECT_EQ(Scan(tokens, "<<a><a"), (Strings{"<", "#1", "<a"}));
  EXPECT_EQ(Scan(tokens, ""), Strings{});
  EXPECT_EQ(Scan({}, "<a>"), Strings{"<a>"});
}

TEST(AddedTokenMatcher, StripsWhiteSpaceWhereAsked) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "L", .lstrip = true},
                                          {.id = 2, .content = "R", .rstrip = true}};
  EXPECT_EQ(Scan(tokens, "a \u3000L b"), (Strings{"a", "#1", " b"}));
  EXPECT_EQ(Scan(tokens, "a R\u00A0\nb"), (Strings{"a ", "#2", "b"}));
  EXPECT_EQ(Scan(tokens, "R  L"), (Strings{"#2", "#1"}));
}

TEST(AddedTokenMatcher, SingleWordWantsNoWordBesideIt) {
  const std::vector<AddedToken> tokens = {{.id = 1, .content = "word", .single_word = true}};
  EXPECT_EQ(Scan(tokens, "word (word) wordy éword word_"),
            (Strings{"#1", " (", "#1", ") wordy éword word_"}));
}

}  // namespace
}  // namespace thinkwire::worker::text
