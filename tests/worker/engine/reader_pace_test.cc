#include "worker/engine/reader_pace.h"

#include <gtest/gtest.h>

#include <chrono>

namespace thinkwire::worker::engine {
namespace {

using Verdict = ReaderPace::Verdict;

constexpr Clock::Duration kSecond = std::chrono::seconds(1);
constexpr Clock::Duration kTimeout = 60 * kSecond;
constexpr std::size_t kCapacity = 64;

// A sequence that fills its stream at once, and a reader of so many tokens at so many times.
class ReaderPaceTest : public testing::Test {
 protected:
  Verdict Look(std::size_t waiting = kCapacity) {
    return pace_.Look({.taken = taken_, .waiting = waiting, .capacity = kCapacity}, kTimeout, now_);
  }

  // Seconds until the reader, who takes `tokens` every `interval`, is too slow; at most ten
  // minutes.
  int LastsFor(int interval, std::uint64_t tokens) {
    for (int second = 0; second < 600; ++second, now_ += kSecond) {
      if (second > 0 && second % interval == 0) taken_ += tokens;
      if (Look() == Verdict::kTooSlow) return second;
    }
    return 600;
  }

  ReaderPace pace_;
  std::uint64_t taken_ = 0;
  Clock::TimePoint now_;
};

TEST_F(ReaderPaceTest, WhoTakesNothingIsTooSlowAfterTheTimeout) { EXPECT_EQ(LastsFor(60, 0), 60); }

TEST_F(ReaderPaceTest, ATrickleIsNoExcuse) { EXPECT_EQ(LastsFor(15, 2), 60); }

TEST_F(ReaderPaceTest, AMessageOfATokenInTwoSecondsIsTooLittle) { EXPECT_EQ(LastsFor(30, 16), 60); }

TEST_F(ReaderPaceTest, ATokenASecondGoesOn) {
  EXPECT_EQ(LastsFor(1, 1), 600);
  EXPECT_EQ(LastsFor(16, 16), 600);  // as a reader takes who turns a quarter of it into a message
}

TEST_F(ReaderPaceTest, AMinuteOfEnoughBuysOneMoreMinuteAlone) {
  EXPECT_EQ(Look(), Verdict::kBehind);
  now_ += 30 * kSecond;
  taken_ += kCapacity;
  EXPECT_EQ(Look(), Verdict::kBehind);
  EXPECT_EQ(LastsFor(600, 0), 90);
}

TEST_F(ReaderPaceTest, OnlyAnEmptyStreamEndsADelay) {
  EXPECT_EQ(Look(), Verdict::kBehind);
  EXPECT_EQ(Look(1), Verdict::kBehind);
  EXPECT_EQ(pace_.since(), now_);
  EXPECT_EQ(Look(0), Verdict::kKeepsUp);
  EXPECT_FALSE(pace_.since());
  now_ += 2 * kTimeout;
  EXPECT_EQ(Look(), Verdict::kBehind) << "a new delay";
}

}  // namespace
}  // namespace thinkwire::worker::engine
