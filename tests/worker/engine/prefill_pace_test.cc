#include "worker/engine/prefill_pace.h"

#include <gtest/gtest.h>

#include <chrono>

namespace thinkwire::worker::engine {
namespace {

using std::chrono::milliseconds;

const Clock::TimePoint kStart{std::chrono::hours(1)};

TEST(PrefillPace, KnowsNothingBeforeTheFirstStep) {
  PrefillPace pace(1);
  EXPECT_FALSE(pace.AtLeast(1, kStart));
  pace.Record(1000, Clock::Duration::zero(), kStart);
  EXPECT_FALSE(pace.AtLeast(1, kStart));
}

TEST(PrefillPace, TheBestStepCounts) {
  PrefillPace pace(1);
  pace.Record(1000, milliseconds(500), kStart);
  EXPECT_EQ(pace.AtLeast(4000, kStart), milliseconds(2000));
  pace.Record(1000, milliseconds(250), kStart);
  pace.Record(1000, milliseconds(1000), kStart);
  EXPECT_EQ(pace.AtLeast(4000, kStart), milliseconds(1000));
}

TEST(PrefillPace, AStepMayHaveWaitedForThoseBeforeIt) {
  PrefillPace pace(2);
  pace.Record(1000, milliseconds(500), kStart);
  EXPECT_EQ(pace.AtLeast(4000, kStart), milliseconds(1000));
}

TEST(PrefillPace, OldStepsAreForgotten) {
  PrefillPace pace(1);
  pace.Record(1000, milliseconds(100), kStart);
  const Clock::TimePoint later = kStart + PrefillPace::kMemory;
  EXPECT_TRUE(pace.AtLeast(1000, later));
  EXPECT_FALSE(pace.AtLeast(1000, later + milliseconds(1)));
  pace.Record(1000, milliseconds(200), later + milliseconds(1));  // slower, but known
  EXPECT_EQ(pace.AtLeast(1000, later + milliseconds(1)), milliseconds(200));
}

}  // namespace
}  // namespace thinkwire::worker::engine
