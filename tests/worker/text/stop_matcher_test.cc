#include "worker/text/stop_matcher.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <random>

#include "tests/sanitized.h"

namespace thinkwire::worker::text {
namespace {

struct Outcome {
  std::string text;
  int matched = -1;
  bool operator==(const Outcome&) const = default;
};

// Pushes `text` in pieces that end at `cuts`; checks invariant 3 after each.
Outcome RunInPieces(const std::vector<std::string>& stops, std::string_view text,
                    const std::vector<std::size_t>& cuts) {
  StopMatcher matcher(stops);
  Outcome outcome;
  std::size_t begin = 0;
  for (const std::size_t end : cuts) {
    const StopMatcher::Result result = matcher.Push(text.substr(begin, end - begin));
    outcome.text += result.emit;
    begin = end;
    if (result.matched >= 0) return {outcome.text, result.matched};
    std::size_t longest = 0;
    for (const std::string& stop : stops) {
      for (std::size_t n = 1; n < stop.size() && n <= end; ++n) {
        if (text.substr(0, end).ends_with(stop.substr(0, n))) longest = std::max(longest, n);
      }
    }
    EXPECT_EQ(matcher.num_held_bytes(), longest) << text << " at " << end;
  }
  outcome.text += matcher.Flush();
  return outcome;
}

// The definition: the match that ends first, of those the longest.
Outcome Definition(const std::vector<std::string>& stops, std::string_view text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    int best = -1;
    for (std::size_t i = 0; i < stops.size(); ++i) {
      if (stops[i].empty() || !text.substr(0, end).ends_with(stops[i])) continue;
      if (best < 0 || stops[i].size() > stops[best].size()) best = static_cast<int>(i);
    }
    if (best >= 0) return {std::string(text.substr(0, end - stops[best].size())), best};
  }
  return {std::string(text), -1};
}

TEST(StopMatcher, FindsAcrossPieces) {
  StopMatcher matcher({"STOP", "\n\nUser:"});
  EXPECT_EQ(matcher.Push("abc ST").emit, "abc ");
  EXPECT_EQ(matcher.Push("AR\n").emit, "STAR");
  EXPECT_EQ(matcher.Push("\n").emit, "");
  const StopMatcher::Result result = matcher.Push("\nUser: more");
  EXPECT_EQ(result.emit, "\n");
  EXPECT_EQ(result.matched, 1);
  EXPECT_TRUE(matcher.has_matched());
}

TEST(StopMatcher, SwallowsAllAfterAMatch) {
  StopMatcher matcher({"x"});
  EXPECT_EQ(matcher.Push("axb").emit, "a");
  EXPECT_EQ(matcher.Push("more").emit, "");
  EXPECT_EQ(matcher.Push("more").matched, 0);
  EXPECT_EQ(matcher.Flush(), "");
  EXPECT_EQ(matcher.Push("b").emit, "b") << "Flush makes ready for a new text";
}

TEST(StopMatcher, EarliestEndThenLongestWins) {
  EXPECT_EQ(RunInPieces({"abcd", "bc"}, "xabcd", {5}), (Outcome{"xa", 1}));
  EXPECT_EQ(RunInPieces({"bc", "abc"}, "xabc", {4}), (Outcome{"x", 1}));
  EXPECT_EQ(RunInPieces({"bc", "bc"}, "abc", {3}), (Outcome{"a", 0}));
}

TEST(StopMatcher, EmptyStopsNeverMatch) {
  EXPECT_EQ(RunInPieces({"", ""}, "abc", {1, 3}), (Outcome{"abc", -1}));
  EXPECT_EQ(RunInPieces({}, "abc", {1, 3}), (Outcome{"abc", -1}));
}

TEST(StopMatcher, AnyChunkingGivesTheSameAsTheDefinition) {
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    const auto make = [&](std::size_t max_length) {
      std::string text;
      for (std::size_t n = random() % (max_length + 1); n > 0; --n) text += "ab\n"[random() % 3];
      return text;
    };
    std::vector<std::string> stops;
    for (std::size_t n = random() % 4; n > 0; --n) stops.push_back(make(5));
    const std::string text = make(30);
    std::vector<std::size_t> cuts;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (random() % 3 == 0) cuts.push_back(i);
    }
    cuts.push_back(text.size());
    ASSERT_EQ(RunInPieces(stops, text, cuts), Definition(stops, text)) << "round " << round;
  }
}

// Strings that have no beginning in common, as many and as long as a request may have.
std::vector<std::string> ManyStops() {
  std::mt19937 random(5);
  std::vector<std::string> stops(16);
  for (std::string& stop : stops) {
    for (int i = 0; i < 256; ++i) stop += static_cast<char>('a' + random() % 26);
  }
  return stops;
}

TEST(StopMatcher, HoldsAsMuchAsItSays) {
  if (kSanitized) GTEST_SKIP() << "sanitizers have an allocator of their own";
  const std::vector<std::string> stops = ManyStops();
  std::vector<StopMatcher> matchers;
  matchers.reserve(100);
  const std::size_t before = mallinfo2().uordblks;
  while (matchers.size() < matchers.capacity()) matchers.emplace_back(stops);
  const std::size_t each = (mallinfo2().uordblks - before) / matchers.size();
  EXPECT_GE(each, StopMatcher::BytesOf(stops));
  EXPECT_LT(each, StopMatcher::BytesOf(stops) * 5 / 4) << "what the allocator adds";
  EXPECT_LT(each, 4 * stops.size() * stops[0].size() + 2000);
}

TEST(StopMatcher, StaysLinearOnRepetitiveText) {
  StopMatcher matcher({std::string(5000, 'a') + "b", std::string(4000, 'a') + "c"});
  std::string out;
  for (int i = 0; i < 200'000; ++i) out += matcher.Push("aaaaa").emit;
  EXPECT_EQ(out.size() + matcher.num_held_bytes(), 1'000'000U);
}

}  // namespace
}  // namespace thinkwire::worker::text
