#include "common/rpc/shares.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire::rpc {
namespace {

// Takes single units until none is given.
std::vector<Shares::Held> TakeAll(Shares& shares, const std::string& peer) {
  std::vector<Shares::Held> taken;
  while (auto held = shares.Take(peer, 1)) taken.push_back(*std::move(held));
  return taken;
}

TEST(Shares, OnePeerAloneGetsEightNinths) {
  Shares shares(900);
  const auto held = TakeAll(shares, "a");
  EXPECT_EQ(held.size(), 800U);
  EXPECT_EQ(shares.held_by("a"), 800);
}

TEST(Shares, ANewcomerAlwaysFindsSome) {
  Shares shares(900);
  const auto first = TakeAll(shares, "a");
  const auto second = TakeAll(shares, "b");
  const auto third = TakeAll(shares, "c");
  EXPECT_EQ(second.size(), 88U);  // of 100 that were left
  EXPECT_EQ(third.size(), 10U);
}

TEST(Shares, WhoHoldsTooMuchWaitsUntilOthersHaveGivenBack) {
  Shares shares(90);
  auto first = TakeAll(shares, "a");
  const auto second = shares.Take("b", 2);
  ASSERT_TRUE(second);
  first.resize(first.size() - 10);
  EXPECT_TRUE(shares.Take("b", 1));
  EXPECT_FALSE(shares.Take("a", 10));
}

TEST(Shares, TheTotalAloneLimitsATrustedPeer) {
  Shares shares(100);
  EXPECT_EQ(TakeAll(shares, "").size(), 100U);
  const auto all = shares.Take("", 100);
  EXPECT_TRUE(all);
  EXPECT_FALSE(shares.Take("", 1));
  EXPECT_FALSE(shares.Take("a", 1));
}

TEST(Shares, AWholeOfOneCanBeHad) {
  Shares shares(1);
  const auto held = shares.Take("a", 1);
  EXPECT_TRUE(held);
  EXPECT_FALSE(shares.Take("b", 1));
}

TEST(Shares, WhatIsShrunkOrDroppedIsFree) {
  Shares shares(100);
  {
    auto held = shares.Take("a", 50);
    ASSERT_TRUE(held);
    held->Shrink(60);
    EXPECT_EQ(held->amount(), 50);
    held->Shrink(20);
    EXPECT_EQ(shares.held(), 20);
    const Shares::Held moved = *std::move(held);
    EXPECT_EQ(shares.held_by("a"), 20);
  }
  EXPECT_EQ(shares.held(), 0);
  EXPECT_EQ(shares.held_by("a"), 0);
}

TEST(Shares, WhatGrowsFindsRoomOrStaysAsItIs) {
  Shares shares(100);
  auto held = shares.Take("a", 10);
  ASSERT_TRUE(held);
  EXPECT_TRUE(held->Resize(80));
  EXPECT_FALSE(held->Resize(95));  // more than 8 times what would be free
  EXPECT_EQ(held->amount(), 80);
  EXPECT_EQ(shares.held_by("a"), 80);
  EXPECT_TRUE(held->Resize(5));
  EXPECT_EQ(shares.held(), 5);
}

TEST(Shares, TellsWhoHoldsMoreThanHisShare) {
  Shares shares(90);
  auto held = shares.Take("a", 80);
  ASSERT_TRUE(held);
  EXPECT_TRUE(shares.IsWithinShare("a"));
  held->Keep(81);
  EXPECT_FALSE(shares.IsWithinShare("a"));
  EXPECT_TRUE(shares.IsWithinShare("b"));
  held->Keep(100);
  EXPECT_TRUE(shares.IsWithinShare("b")) << "who holds nothing";
  EXPECT_TRUE(shares.IsWithinShare("")) << "of the trusted nobody does";
  const Shares::Held trusted = shares.TakeBeyond("", 1);
  EXPECT_FALSE(shares.IsWithinShare(""));
  held->Keep(89);
  EXPECT_TRUE(shares.IsWithinShare("")) << "the total alone limits them";
}

TEST(Shares, WhatIsKeptAnywayLeavesLessToOthers) {
  Shares shares(100);
  {
    auto held = shares.Take("a", 10);
    ASSERT_TRUE(held);
    held->Keep(120);
    EXPECT_EQ(shares.held(), 120);
    EXPECT_FALSE(shares.Take("b", 1));
    held->Keep(20);
    EXPECT_EQ(held->amount(), 20);
    EXPECT_TRUE(shares.Take("b", 1));
  }
  EXPECT_EQ(shares.held(), 0);
}

}  // namespace
}  // namespace thinkwire::rpc
