#include "worker/engine/loop_detector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace thinkwire::worker::engine {
namespace {

// How many ids of `ids` are taken until it is found that they go in circles; -1: never.
int FoundAfter(LoopDetector& detector, const std::vector<std::int32_t>& ids) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (detector.Add(ids[i])) return static_cast<int>(i) + 1;
  }
  return -1;
}

TEST(LoopDetectorTest, FindsEveryPeriodAtTheTokenThatCompletesTheLastRepeat) {
  std::mt19937 random(7);
  for (std::int32_t period = 1; period <= 512; ++period) {
    LoopDetector detector({.max_repeats = 8, .max_period_tokens = 512});
    std::vector<std::int32_t> passage;
    for (std::int32_t i = 0; i < period; ++i) {
      passage.push_back(static_cast<std::int32_t>(random() % 100'000) + 2 * i);
    }
    std::vector<std::int32_t> ids = {-1 + 1, 1};
    for (int repeat = 0; repeat < 70; ++repeat) {
      ids.insert(ids.end(), passage.begin(), passage.end());
    }
    EXPECT_EQ(FoundAfter(detector, ids), 2 + std::max(64, 8 * period)) << period;
  }
}

TEST(LoopDetectorTest, OneRepeatLessOrALongerPassageIsNone) {
  LoopDetector detector({.max_repeats = 4, .max_period_tokens = 100});
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 4 * 100 - 1; ++i) ids.push_back(i % 100);
  EXPECT_EQ(FoundAfter(detector, ids), -1);
  detector.Restart();
  ids.clear();
  for (int i = 0; i < 10 * 101; ++i) ids.push_back(i % 101);
  EXPECT_EQ(FoundAfter(detector, ids), -1);
}

TEST(LoopDetectorTest, AnIdThatDiffersBeginsAnew) {
  LoopDetector detector({.max_repeats = 2, .max_period_tokens = 8});
  std::vector<std::int32_t> ids(63, 5);
  ids.push_back(6);
  ids.insert(ids.end(), 63, 5);
  EXPECT_EQ(FoundAfter(detector, ids), -1);
  EXPECT_TRUE(detector.Add(5));
}

TEST(LoopDetectorTest, WhatCameBeforeARestartCountsNoMore) {
  LoopDetector detector({.max_repeats = 2, .max_period_tokens = 8});
  EXPECT_EQ(FoundAfter(detector, std::vector<std::int32_t>(63, 5)), -1);
  detector.Restart();
  EXPECT_EQ(FoundAfter(detector, std::vector<std::int32_t>(63, 5)), -1);
}

// A table whose cells differ, counting, and the digits of a number without a pattern.
TEST(LoopDetectorTest, WhatOnlyLooksAlikeIsNoLoop) {
  std::mt19937 random(11);
  LoopDetector detector({});
  std::vector<std::int32_t> table;
  std::vector<std::int32_t> counting;
  std::vector<std::int32_t> digits;
  for (int i = 0; i < 4000; ++i) {
    table.push_back(i % 4 == 3 ? 1000 + i : i % 4);
    counting.insert(counting.end(), {i / 100 % 10, i / 10 % 10, i % 10, 11});
    digits.push_back(static_cast<std::int32_t>(random() % 10));
  }
  for (const auto& ids : {table, counting, digits}) {
    EXPECT_EQ(FoundAfter(detector, ids), -1);
    detector.Restart();
  }
}

}  // namespace
}  // namespace thinkwire::worker::engine
