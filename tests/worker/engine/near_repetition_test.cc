#include "worker/engine/near_repetition.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string_view>
#include <vector>

#include "worker/engine/loop_detector.h"

namespace thinkwire::worker::engine {
namespace {

// How many ids of `ids` are taken until they are too much of the same; -1: never.
int FoundAfter(NearRepetition& near, const std::vector<std::int32_t>& ids) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (near.Add(ids[i])) return static_cast<int>(i) + 1;
  }
  return -1;
}

std::vector<std::int32_t> RandomIds(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int32_t>(random() % 150'000));
  return ids;
}

// Of 2,033 passages, after 15 ids that end none; some of those before are forgotten.
constexpr int kHalf = 15 + 1017;
constexpr int kForgotten = 100;

void ExpectFoundInCopy(int found, int begin) {
  EXPECT_GE(found, begin + kHalf);
  EXPECT_LE(found, begin + kHalf + kForgotten);
}

TEST(NearRepetitionTest, FindsACopyOnceItMakesTheShare) {
  NearRepetition near(0.5F);
  const std::vector<std::int32_t> ids = RandomIds(1200, 1);
  EXPECT_EQ(FoundAfter(near, ids), -1);
  // The first passage of the copy is whole after 16 ids.
  ExpectFoundInCopy(FoundAfter(near, ids), 0);
}

TEST(NearRepetitionTest, FindsWhatIsSaidAgainWithOtherWordsHereAndThere) {
  NearRepetition near(0.5F);
  LoopDetector exact({.max_repeats = 2, .max_period_tokens = 2048});
  const std::vector<std::int32_t> passage = RandomIds(120, 2);
  std::mt19937 random(3);
  bool found = false;
  for (int repeat = 0; repeat < 40 && !found; ++repeat) {
    std::vector<std::int32_t> ids = passage;
    ids[random() % ids.size()] = static_cast<std::int32_t>(200'000 + repeat);
    for (const std::int32_t id : ids) {
      found |= near.Add(id);
      EXPECT_FALSE(exact.Add(id)) << "never the same twice";
    }
  }
  EXPECT_TRUE(found);
}

TEST(NearRepetitionTest, WhatLeavesTheWindowCountsNoMore) {
  NearRepetition near(0.5F);
  const std::vector<std::int32_t> ids = RandomIds(900, 4);
  EXPECT_EQ(FoundAfter(near, ids), -1);
  EXPECT_EQ(FoundAfter(near, ids), -1) << "885 of 2,033";
  EXPECT_EQ(FoundAfter(near, RandomIds(2033, 5)), -1);
  EXPECT_EQ(FoundAfter(near, ids), -1) << "the 885 before are out of the window";
}

TEST(NearRepetitionTest, NewTextIsNone) {
  NearRepetition near(0.05F);
  EXPECT_EQ(FoundAfter(near, RandomIds(200'000, 6)), -1);
}

TEST(NearRepetitionTest, DigitsAndCountingAreNone) {
  NearRepetition digits(0.05F);
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_FALSE(digits.Add(static_cast<std::int32_t>(random() % 10)));
  }
  NearRepetition counting(0.5F);
  for (int i = 0; i < 5'000; ++i) {
    for (const char digit : std::to_string(i) + "\n") ASSERT_FALSE(counting.Add(digit)) << i;
  }
}

TEST(NearRepetitionTest, WhatCameBeforeARestartCountsNoMore) {
  NearRepetition near(0.5F);
  const std::vector<std::int32_t> ids = RandomIds(1150, 8);
  EXPECT_EQ(FoundAfter(near, ids), -1);
  near.Restart();
  EXPECT_EQ(FoundAfter(near, ids), -1);
  ExpectFoundInCopy(FoundAfter(near, ids), 0);
}

TEST(NearRepetitionTest, ALoopDetectorFindsItToo) {
  LoopDetector detector({.max_repeats = 8, .max_period_tokens = 64, .near_share = 0.5F});
  const std::vector<std::int32_t> ids = RandomIds(1200, 9);
  int found = -1;
  for (std::size_t i = 0; i < 2 * ids.size() && found < 0; ++i) {
    if (detector.Add(ids[i % ids.size()])) found = static_cast<int>(i) + 1;
  }
  ExpectFoundInCopy(found, 1200);
}

}  // namespace
}  // namespace thinkwire::worker::engine
