#include "common/rpc/call_count.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace thinkwire::rpc {
namespace {

TEST(CallCount, WaitsForNobodyWhereNoCallIsLeft) {
  CallCount calls;
  EXPECT_TRUE(calls.WaitUntilNone(Clock::Duration::zero()));
  { const CallCount::Token token = calls.Begin(); }
  EXPECT_TRUE(calls.WaitUntilNone(Clock::Duration::zero()));
}

TEST(CallCount, GivesUpAfterItsTimeout) {
  CallCount calls;
  const CallCount::Token token = calls.Begin();
  EXPECT_FALSE(calls.WaitUntilNone(std::chrono::milliseconds(5)));
}

TEST(CallCount, ATokenThatIsMovedCountsOnce) {
  CallCount calls;
  CallCount::Token held;
  {
    CallCount::Token token = calls.Begin();
    held = std::move(token);
  }
  EXPECT_FALSE(calls.WaitUntilNone(Clock::Duration::zero()));
  held = {};
  EXPECT_TRUE(calls.WaitUntilNone(Clock::Duration::zero()));
}

TEST(CallCount, MayGoAsSoonAsTheLastCallHasEnded) {
  for (int round = 0; round < 100; ++round) {
    auto calls = std::make_unique<CallCount>();
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([token = calls->Begin()] {});
    }
    EXPECT_TRUE(calls->WaitUntilNone(std::chrono::seconds(20)));
    calls.reset();
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace thinkwire::rpc
