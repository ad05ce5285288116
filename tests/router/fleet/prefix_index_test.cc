#include "router/fleet/prefix_index.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace thinkwire::router::fleet {
namespace {

using decision::PromptMarks;

// Marks of 100 bytes each.
PromptMarks Marks(std::vector<std::uint64_t> hashes, std::string peer = "a") {
  PromptMarks marks{.peer = std::move(peer)};
  for (const std::uint64_t hash : hashes) {
    marks.bytes += 100;
    marks.list.push_back({.hash = hash, .bytes = marks.bytes});
  }
  return marks;
}

double BytesOf(const PrefixIndex& index, const PromptMarks& marks, std::uint32_t life) {
  return BytesOf(index.Find(marks), life);
}

TEST(PrefixIndex, FindsTheLongestBeginningOfEachWorker) {
  PrefixIndex index;
  EXPECT_TRUE(index.Find(Marks({1, 2})).empty());
  index.Learn(Marks({1, 2}), 7, 0);
  index.Learn(Marks({1, 2, 3}), 8, 0);
  index.Learn(Marks({1}), 9, 0);
  const PromptMarks longer = Marks({1, 2, 3, 4, 5});
  EXPECT_EQ(index.Find(longer).size(), 3U);
  EXPECT_EQ(BytesOf(index, longer, 7), 200);
  EXPECT_EQ(BytesOf(index, longer, 8), 300);
  EXPECT_EQ(BytesOf(index, longer, 9), 100);
  EXPECT_EQ(BytesOf(index, Marks({6, 2, 3}), 8), 0 + 300);  // a hash stands for all before it
  EXPECT_TRUE(index.Find(Marks({4, 5})).empty());
  EXPECT_TRUE(index.Find({}).empty());
}

TEST(PrefixIndex, WhatAWorkerSaysCorrectsTheBelief) {
  PrefixIndex index;
  const PromptMarks marks = Marks({1, 2});
  index.Learn(marks, 7, 0);
  EXPECT_EQ(BytesOf(index, marks, 7), 200);
  index.Learn(marks, 7, 50);  // the blocks had gone
  EXPECT_DOUBLE_EQ(BytesOf(index, marks, 7), 0.625 * 200);
  for (int i = 0; i < 20; ++i) index.Learn(marks, 7, 0);
  EXPECT_LT(BytesOf(index, marks, 7), 1);
  for (int i = 0; i < 20; ++i) index.Learn(marks, 7, 200);
  EXPECT_GT(BytesOf(index, marks, 7), 199);
  // More than all is all.
  index.Learn(marks, 7, 1e9);
  EXPECT_LE(BytesOf(index, marks, 7), 200);
}

TEST(PrefixIndex, OneThatIsNeverFoundMakesNobodyElseDoubtful) {
  PrefixIndex index;
  index.Learn(Marks({1, 2}, "honest"), 7, 0);
  for (int i = 0; i < 20; ++i) index.Learn(Marks({3, 4}, "other"), 7, 0);
  EXPECT_EQ(BytesOf(index, Marks({1, 2}), 7), 200);
}

TEST(PrefixIndex, KnowsTheWorkersThatUsedAMarkLast) {
  PrefixIndex index;
  for (std::uint32_t life = 1; life <= 2 * PrefixIndex::kMostLives; ++life) {
    index.Learn(Marks({1}), life, 0);
  }
  const auto known = index.Find(Marks({1}));
  ASSERT_EQ(known.size(), PrefixIndex::kMostLives);
  for (const auto& one : known) EXPECT_GT(one.life, PrefixIndex::kMostLives);
  index.Learn(Marks({1}), PrefixIndex::kMostLives + 1, 100);  // used again, and so kept
  index.Learn(Marks({1}), 99, 0);
  EXPECT_EQ(BytesOf(index, Marks({1}), PrefixIndex::kMostLives + 1), 100);
  EXPECT_EQ(BytesOf(index, Marks({1}), PrefixIndex::kMostLives + 2), 0);
}

TEST(PrefixIndex, ForgetsWhatWasNotUsedForLongest) {
  PrefixIndex index(3);
  index.Learn(Marks({1}), 7, 0);
  index.Learn(Marks({2}), 7, 0);
  index.Learn(Marks({3}), 7, 0);
  index.Learn(Marks({1}), 7, 100);
  index.Learn(Marks({4}), 7, 0);
  EXPECT_EQ(index.size(), 3U);
  EXPECT_TRUE(index.Find(Marks({2})).empty());
  for (const std::uint64_t hash : {1, 3, 4}) EXPECT_FALSE(index.Find(Marks({hash})).empty());
}

TEST(PrefixIndex, WhoFillsItDrivesOutHisOwn) {
  PrefixIndex index(100);
  const PromptMarks honest = Marks({1, 2, 3}, "honest");
  index.Learn(honest, 7, 0);
  for (std::uint64_t hash = 10; hash < 10'000; ++hash) index.Learn(Marks({hash}, "flood"), 7, 0);
  EXPECT_EQ(index.size(), 100U);
  EXPECT_EQ(BytesOf(index, honest, 7), 300);
  // Two who want more than half have half each.
  for (std::uint64_t hash = 10'000; hash < 10'100; ++hash) {
    index.Learn(Marks({hash}, "other"), 7, 0);
  }
  int others = 0;
  for (std::uint64_t hash = 10'000; hash < 10'100; ++hash) {
    others += index.Find(Marks({hash})).empty() ? 0 : 1;
  }
  EXPECT_NEAR(others, 48, 1);
  EXPECT_EQ(BytesOf(index, honest, 7), 300);
}

TEST(PrefixIndex, IsBoundedWhateverIsLearnt) {
  constexpr std::size_t kMarks = 50;
  PrefixIndex index(kMarks);
  std::mt19937 random(testing::UnitTest::GetInstance()->random_seed());
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::uint64_t> hashes;
    for (std::uint32_t n = random() % 60; n > 0; --n) hashes.push_back(random() % 200);
    const PromptMarks marks = Marks(hashes, std::to_string(random() % 20));
    index.Learn(marks, 1 + random() % 10, random() % 1000);
    ASSERT_LE(index.size(), kMarks);
    for (const auto& known : index.Find(marks)) {
      ASSERT_GE(known.life, 1U);
      ASSERT_LE(known.bytes, static_cast<double>(marks.bytes));
    }
  }
}

TEST(PrefixIndex, DrawsAKeyOfItsOwn) { EXPECT_NE(PrefixIndex().key(), PrefixIndex().key()); }

}  // namespace
}  // namespace thinkwire::router::fleet
