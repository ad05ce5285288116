#include "worker/engine/stall_watch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <latch>
#include <optional>
#include <string>
#include <thread>

#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_runner.h"
#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

constexpr Clock::Duration kLimit = std::chrono::seconds(10);
constexpr Clock::Duration kLookEvery = std::chrono::milliseconds(100);

// Step 5 runs on two ranks.
EnginePulse Busy() {
  return {.doing = EnginePulse::kCollecting,
          .turns = 9,
          .collected = 4,
          .ranks = {{.step = 5, .layer = 3}, {.step = 5, .layer = 3}}};
}

class StallDetectorTest : public testing::Test {
 protected:
  std::optional<std::string> LookAfter(Clock::Duration time, const EnginePulse& pulse) {
    clock_.Advance(time);
    return detector_.Look(pulse, clock_.Now());
  }

  // What it says at the end of `time`, if it says nothing before.
  std::optional<std::string> LookFor(Clock::Duration time, const EnginePulse& pulse) {
    for (; time > kLookEvery; time -= kLookEvery) {
      if (const auto stall = LookAfter(kLookEvery, pulse)) return "too early: " + *stall;
    }
    return LookAfter(time, pulse);
  }

  FakeClock clock_;
  StallDetector detector_{kLimit};
};

TEST_F(StallDetectorTest, AStepThatStandsStillForTheLimitIsAStall) {
  EXPECT_EQ(LookAfter({}, Busy()), std::nullopt);
  EXPECT_EQ(
      LookFor(kLimit, Busy()),
      "no progress for 10.0 s: step 5 is not done, rank 0 last beat in step 5 layer 3, rank 1 "
      "last beat in step 5 layer 3");
}

TEST_F(StallDetectorTest, NamesTheRankThatIsBehind) {
  EnginePulse pulse = Busy();
  pulse.ranks = {{.step = 5, .layer = 1}, {.step = 4, .layer = 28}, {.step = 5, .layer = 1}};
  LookAfter({}, pulse);
  const std::string stall = LookFor(kLimit, pulse).value_or("");
  EXPECT_TRUE(stall.ends_with(": rank 1 is behind")) << stall;
  pulse.ranks[1] = {.step = 5, .layer = 2};
  LookAfter({}, pulse);
  const std::string other = LookFor(kLimit, pulse).value_or("");
  EXPECT_TRUE(other.ends_with(": rank 0 is behind")) << other;
}

TEST_F(StallDetectorTest, AnEngineThatStandsStillOutsideOfAStepIsAStall) {
  EnginePulse pulse = Busy();
  pulse.doing = EnginePulse::kTurning;
  LookAfter({}, pulse);
  EXPECT_EQ(LookFor(kLimit, pulse),
            "no progress for 10.0 s: the engine thread is stuck in its turn 9, after step 4");
}

TEST_F(StallDetectorTest, AStepWhoseLayersGoOnMayTakeMinutes) {
  EnginePulse pulse = Busy();
  for (std::int32_t layer = 1; layer <= 64; ++layer) {
    pulse.ranks[layer % 2].layer = layer;  // one rank's beat is enough
    EXPECT_EQ(LookAfter(kLookEvery, pulse), std::nullopt);
    EXPECT_EQ(LookFor(kLimit - kLookEvery, pulse), std::nullopt);
  }
}

TEST_F(StallDetectorTest, StepsThatComeBackAreProgressWithoutAnyBeat) {
  EnginePulse pulse = Busy();
  for (; pulse.collected < 70; ++pulse.collected) {
    EXPECT_EQ(LookAfter(kLookEvery, pulse), std::nullopt);
    EXPECT_EQ(LookFor(kLimit - kLookEvery, pulse), std::nullopt);
  }
}

TEST_F(StallDetectorTest, AnIdleEngineIsNoStall) {
  EnginePulse pulse = Busy();
  pulse.doing = EnginePulse::kWaiting;
  EXPECT_EQ(LookFor(100 * kLimit, pulse), std::nullopt);
  // Time counts from the first look at its work.
  pulse.doing = EnginePulse::kTurning;
  EXPECT_EQ(LookFor(kLimit, pulse), std::nullopt);
  EXPECT_NE(LookAfter(kLookEvery, pulse), std::nullopt);
}

TEST_F(StallDetectorTest, TimeInWhichNobodyLookedCountsLittle) {
  LookAfter({}, Busy());
  EXPECT_EQ(LookAfter(100 * kLimit, Busy()), std::nullopt);
  EXPECT_EQ(LookFor(kLimit - StallDetector::kMaxGap - kLookEvery, Busy()), std::nullopt);
  EXPECT_NE(LookAfter(kLookEvery, Busy()), std::nullopt);
}

// The real engine, whose runner stands still.
class StallWatchTest : public testing::Test {
 protected:
  // Lets time pass until the watch speaks.
  std::string AwaitStall() {
    std::latch told(1);
    std::string stall;
    const StallWatch watch(engine_, clock_, kLimit, [&](const std::string& what) {
      stall = what;
      told.count_down();
    });
    while (!told.try_wait()) {
      clock_.Advance(kLookEvery);
      std::this_thread::yield();
    }
    return stall;
  }

  FakeClock clock_;
  FakeRunner runner_{MakeLimits(/*max_in_flight=*/2), FakeModel(kVocab)};
  Engine engine_{{.end_of_sequence_ids = {kEos}}, runner_, clock_};
};

TEST_F(StallWatchTest, TellsOfAStepThatDoesNotComeBack) {
  runner_.CloseGate();
  Reader reader;
  ASSERT_TRUE(engine_.Submit(MakeRequest(1, 10, 40), reader.stream()).ok());
  runner_.WaitUntilBlocked();
  const std::string stall = AwaitStall();
  EXPECT_NE(stall.find("step 1 is not done"), std::string::npos) << stall;
  runner_.OpenGate();
  reader.WaitEnding();
}

TEST_F(StallWatchTest, TellsOfAnEngineThreadThatIsStuckInACallback) {
  std::latch entered(1);
  std::latch leave(1);
  std::atomic<bool> first = true;
  const auto stream = std::make_shared<TokenStream>(16, [&] {
    if (!first.exchange(false)) return;
    entered.count_down();
    leave.wait();
  });
  ASSERT_TRUE(engine_.Submit(MakeRequest(1, 10, 1), stream).ok());
  entered.wait();
  const std::string stall = AwaitStall();
  // Its turn is 1, or 2 if it was waiting when the request came.
  EXPECT_NE(stall.find("the engine thread is stuck in its turn "), std::string::npos) << stall;
  leave.count_down();
  engine_.Stop();
}

TEST(EndStalledProcessDeathTest, EndsThoughItsLastWordsHang) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(EndStalledProcess([] {
                std::fputs("last words\n", stderr);
                for (;;) pause();
              }),
              testing::ExitedWithCode(70), "^last words\n$");
}

}  // namespace
}  // namespace thinkwire::worker::engine
