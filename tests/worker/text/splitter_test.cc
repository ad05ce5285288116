#include "worker/text/splitter.h"

#include <gtest/gtest.h>

#include "worker/text/split_pattern.h"

namespace thinkwire::worker::text {
namespace {

constexpr char kQwen[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

std::vector<std::string> Pieces(const std::vector<std::string>& patterns, std::string_view text) {
  absl::StatusOr<Splitter> splitter = Splitter::Create(patterns);
  EXPECT_TRUE(splitter.ok()) << splitter.status();
  std::vector<std::string> pieces;
  if (splitter.ok()) {
    splitter->Split(text, [&](std::span<const std::string_view> batch, std::string_view) {
      pieces.insert(pieces.end(), batch.begin(), batch.end());
    });
  }
  return pieces;
}

using Strings = std::vector<std::string>;

TEST(Splitter, CutsByTheRegexWhatIsNotToTheLetterADistillsPattern) {
  const std::string text = "I'LL go  12 \n\n x!\n";
  EXPECT_EQ(Pieces({"(?:" + std::string(kQwen) + ")"}, text), Pieces({kQwen}, text));
}

TEST(Splitter, CutsAsTheQwenPattern) {
  EXPECT_EQ(Pieces({kQwen}, "I'LL go  12 \n\n x!\n"),
            (Strings{"I", "'LL", " go", " ", " ", "1", "2", " \n\n", " x", "!\n"}));
  EXPECT_EQ(Pieces({kQwen}, ""), Strings{});
  EXPECT_EQ(Pieces({kQwen}, "   "), Strings{"   "});
}

TEST(Splitter, MatchesAndGapsAreBothPieces) {
  EXPECT_EQ(Pieces({R"(\p{N}{1,3})"}, "ab12345c"), (Strings{"ab", "123", "45", "c"}));
}

TEST(Splitter, LaterPatternsSeeOnlyThePiece) {
  // Within its piece "  " nothing follows the spaces, so that they stay together.
  EXPECT_EQ(Pieces({R"(\p{N})", R"(\s+(?!\S)|\s+)"}, "a  1"), (Strings{"a", "  ", "1"}));
  EXPECT_EQ(Pieces({R"(\s+(?!\S)|\s+)"}, "a  1"), (Strings{"a", " ", " ", "1"}));
}

TEST(Splitter, WithoutPatternsTheTextIsOnePiece) { EXPECT_EQ(Pieces({}, "a b"), Strings{"a b"}); }

TEST(Splitter, EmptyMatchesCutNothing) {
  EXPECT_EQ(Pieces({"x*"}, "axxé"), (Strings{"a", "xx", "é"}));
}

TEST(Splitter, WhiteSpaceIsUnicodes) {
  EXPECT_EQ(Pieces({R"(\s+)"}, "a\u180E\u3000b"), (Strings{"a\u180E", "\u3000", "b"}));
}

TEST(Splitter, KnowsLettersAndNumbersOfUnicode16) {
  EXPECT_EQ(Pieces({R"(\p{L}+)"}, "1\U00031350\U00016D401"),
            (Strings{"1", "\U00031350\U00016D40", "1"}));
  EXPECT_EQ(Pieces({R"(\P{N}+)"}, "a\U0001D2C0"), (Strings{"a", "\U0001D2C0"}));
}

TEST(Splitter, LongRunsTakeLinearTime) {
  const std::string spaces(4'000'000, ' ');
  EXPECT_EQ(Pieces({kQwen}, spaces + "x").size(), 2U);
  EXPECT_EQ(Pieces({kQwen}, std::string(4'000'000, 'x')).size(), 1U);
  EXPECT_EQ(Pieces({kQwen}, std::string(1'000'000, '7')).size(), 1'000'000U);
}

TEST(SplitPattern, RefusesWhatMeansSomethingElse) {
  for (const char* pattern : {"^a", "a$", R"(\w+)", R"(\bx)", R"(\h)", R"([\S])", R"([a[b]])",
                              R"([a&&b])", "a{1,2}+", R"(\p{Han})", R"(\pL)", R"([\P{L}])"}) {
    const auto translated = TranslateSplitPattern(pattern);
    EXPECT_EQ(translated.status().code(), absl::StatusCode::kUnimplemented) << pattern;
  }
  EXPECT_EQ(TranslateSplitPattern("a\\").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SplitPattern, KeepsWhatMeansTheSame) {
  for (const char* pattern :
       {"a|b", R"([^\r\n]?x{1,3}y*)", R"((?i:'s))", R"([]a]+\[\])", "[^]]", R"(x++(?!y))", "a{,"}) {
    EXPECT_EQ(*TranslateSplitPattern(pattern), pattern);
  }
}

TEST(Splitter, RefusesPatternsThatDoNotCompile) {
  const absl::StatusOr<Splitter> splitter = Splitter::Create({"(a"});
  EXPECT_EQ(splitter.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(splitter.status().ToString().find("(a"), std::string::npos);
}

TEST(Splitter, HostilePatternEndsAndLosesNothing) {
  const std::string text(40, 'a');
  const Strings pieces = Pieces({"(?:a+)+b"}, text);
  std::string joined;
  for (const std::string& piece : pieces) joined += piece;
  EXPECT_EQ(joined, text);
}

}  // namespace
}  // namespace thinkwire::worker::text
