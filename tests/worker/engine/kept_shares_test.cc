#include "worker/engine/kept_shares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "common/peer_limits.h"
#include "worker/engine/block_pool.h"

namespace thinkwire::worker::engine {
namespace {

TEST(KeptShares, TheOldestOfWhoeverHasMost) {
  KeptShares shares(6);
  for (const std::int32_t block : {0, 1, 2}) shares.SetOwner(block, "a");
  for (const std::int32_t block : {3, 4}) shares.SetOwner(block, "b");
  for (const std::int32_t block : {3, 4, 2, 0}) shares.Keep(block);
  shares.Take(4);
  EXPECT_EQ(shares.OldestOfLargest(), 2);
  shares.Take(2);
  shares.Take(0);
  EXPECT_EQ(shares.OldestOfLargest(), 3);
}

TEST(KeptShares, AnOwnerOfNothingIsForgotten) {
  KeptShares shares(2);
  shares.SetOwner(0, "a");
  shares.ClearOwner(0);
  shares.SetOwner(0, "b");
  shares.Keep(0);
  EXPECT_EQ(shares.OldestOfLargest(), 0);
}

// A pool of blocks that owners fill and let go.
class BlockPoolSharesTest : public testing::Test {
 protected:
  // Has so many blocks kept for `owner`.
  void Keep(const std::string& owner, int blocks) {
    for (int i = 0; i < blocks; ++i) {
      const BlockHandle block = Take();
      pool_.SetWorthKeeping(block.block(), owner);
      owners_[static_cast<std::size_t>(block.block())] = owner;
    }
  }
  BlockHandle Take() {
    if (std::optional<BlockHandle> unused = pool_.Allocate()) return *std::move(unused);
    const std::int32_t leaves = pool_.next_to_leave();
    pool_.SetWorthless(leaves);
    owners_[static_cast<std::size_t>(leaves)].clear();
    return *pool_.Allocate();
  }
  std::ptrdiff_t KeptOf(const std::string& owner) const {
    return std::ranges::count(owners_, owner);
  }

  static constexpr std::int32_t kBlocks = 12;
  BlockPool pool_{kBlocks};
  std::vector<std::string> owners_{static_cast<std::size_t>(kBlocks)};
};

TEST_F(BlockPoolSharesTest, AFloodDrivesOutItsOwnBlocks) {
  Keep("honest", 4);
  Keep("flood", 1000);
  EXPECT_EQ(KeptOf("honest"), 4);
  EXPECT_EQ(KeptOf("flood"), 8);
}

TEST_F(BlockPoolSharesTest, WhoWantMoreThanTheirPartsHaveEqualOnes) {
  Keep("a", 12);
  for (int i = 0; i < 100; ++i) {
    Keep("b", 1);
    Keep("c", 1);
  }
  EXPECT_EQ(KeptOf("a"), 4);
  EXPECT_EQ(KeptOf("b"), 4);
  EXPECT_EQ(KeptOf("c"), 4);
}

TEST_F(BlockPoolSharesTest, WhatNobodyUsesForLongLeavesFirst) {
  Keep("gone", 6);
  pool_.OnStep(kKeepSteps - 1);
  Keep("here", 100);
  EXPECT_EQ(KeptOf("gone"), 6);
  pool_.OnStep(kKeepSteps);
  Keep("here", 6);
  EXPECT_EQ(KeptOf("gone"), 0);
  EXPECT_EQ(KeptOf("here"), 12);
}

}  // namespace
}  // namespace thinkwire::worker::engine
