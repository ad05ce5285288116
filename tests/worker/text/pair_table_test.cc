#include "worker/text/pair_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>

namespace thinkwire::worker::text {
namespace {

class PairTableTest : public testing::TestWithParam<std::size_t> {};

// Whether room was asked for or not; few ids, so that pairs differ in little.
TEST_P(PairTableTest, FindsTheRanksThatWereSetLastAndNothingElse) {
  PairTable table;
  table.Reserve(GetParam());
  std::mt19937 random(1);
  std::map<std::pair<std::int32_t, std::int32_t>, std::int32_t> expected;
  for (std::int32_t rank = 0; rank < 30'000; ++rank) {
    const std::pair<std::int32_t, std::int32_t> pair(random() % 300, random() % 300);
    expected[pair] = rank;
    table.Set(pair.first, pair.second, rank);
  }
  for (std::int32_t left = 0; left < 300; ++left) {
    for (std::int32_t right = 0; right < 300; ++right) {
      const auto pair = expected.find({left, right});
      ASSERT_EQ(table.Find(left, right),
                pair == expected.end() ? PairTable::kNoRank : pair->second);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Room, PairTableTest, testing::Values(0, 1, 30'000));

TEST(PairTable, HoldsTheLargestIdsAndRanks) {
  PairTable table;
  table.Set(kMaxTokenIds - 1, kMaxTokenIds - 1, PairTable::kMaxRank);
  table.Set(0, kMaxTokenIds - 1, 0);
  EXPECT_EQ(table.Find(kMaxTokenIds - 1, kMaxTokenIds - 1), PairTable::kMaxRank);
  EXPECT_EQ(table.Find(0, kMaxTokenIds - 1), 0);
  EXPECT_EQ(table.Find(kMaxTokenIds - 1, 0), PairTable::kNoRank);
}

TEST(PairTable, NothingMergesWithNoToken) {
  PairTable table;
  table.Set(kMaxTokenIds - 1, kMaxTokenIds - 1, 1);
  for (const std::int32_t id : {0, 1, kMaxTokenIds - 1}) {
    EXPECT_EQ(table.Find(PairTable::kNoToken, id), PairTable::kNoRank);
    EXPECT_EQ(table.Find(id, PairTable::kNoToken), PairTable::kNoRank);
  }
}

}  // namespace
}  // namespace thinkwire::worker::text
