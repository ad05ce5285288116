#include "common/rpc/refused_calls.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire::rpc {
namespace {

std::vector<RefusedCalls::Call> Begin(RefusedCalls& refused, const std::string& peer,
                                      const std::string& connection, int calls) {
  std::vector<RefusedCalls::Call> begun;
  for (int i = 0; i < calls; ++i) begun.push_back(refused.Begin(peer, connection));
  return begun;
}

TEST(RefusedCalls, ThoseThatAreOverCountNoMore) {
  RefusedCalls refused(2);
  for (int i = 0; i < 100; ++i) {
    const RefusedCalls::Call call = refused.Begin("a", "a:1");
    EXPECT_EQ(refused.size(), 1U);
    EXPECT_EQ(refused.TakeWorst(), std::nullopt);
  }
  EXPECT_EQ(refused.size(), 0U);
}

TEST(RefusedCalls, TheWorstConnectionOfTheWorstPeerGoes) {
  RefusedCalls refused(20);
  const auto honest = Begin(refused, "a", "a:1", 8);  // more than any other connection has
  std::vector<std::vector<RefusedCalls::Call>> flood;
  flood.push_back(Begin(refused, "b", "b:1", 5));
  flood.push_back(Begin(refused, "b", "b:2", 6));
  EXPECT_EQ(refused.TakeWorst(), std::nullopt);
  flood.push_back(Begin(refused, "b", "b:3", 4));
  EXPECT_EQ(refused.TakeWorst(), "b:2");
  EXPECT_EQ(refused.TakeWorst(), std::nullopt);
  EXPECT_EQ(refused.size(), 17U);
}

TEST(RefusedCalls, WhatATakenConnectionStillHasIsGivenBackOnce) {
  RefusedCalls refused(3);
  auto taken = Begin(refused, "a", "a:1", 4);
  EXPECT_EQ(refused.TakeWorst(), "a:1");
  EXPECT_EQ(refused.size(), 0U);
  const auto other = Begin(refused, "a", "a:2", 1);
  taken.clear();
  EXPECT_EQ(refused.size(), 1U);
}

}  // namespace
}  // namespace thinkwire::rpc
