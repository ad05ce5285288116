// Readers that take too little: their sequences wait, and nobody else notices.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"
#include "tests/worker/engine/stepper.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

// By D, the plans in flight.
class SlowReaderTest : public testing::TestWithParam<std::int32_t> {
 protected:
  step::Limits limits_ = MakeLimits(GetParam());
};

INSTANTIATE_TEST_SUITE_P(InFlight, SlowReaderTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SlowReaderTest, FullStreamPausesItsSequenceAlone) {
  Stepper stepper(limits_);
  Reader slow(3);
  Reader quick;
  const Request slow_request = MakeRequest(1, 4, 10);
  stepper.Add(slow_request, slow);
  stepper.Add(MakeRequest(2, 4, 30), quick);
  stepper.RunDry();
  quick.Take();
  EXPECT_EQ(quick.tokens().size(), 30U);
  EXPECT_EQ(slow.stream()->room(), 0U);
  EXPECT_EQ(stepper.scheduler().running(), 1);
  while (!slow.ending()) {
    slow.Take();
    EXPECT_LE(slow.stream()->room(), 3U);
    stepper.RunDry();
    slow.Take();
  }
  ExpectTokens(slow.tokens(), Alone(stepper.model(), slow_request, 10), true);
  stepper.ExpectIdle();
}

TEST_P(SlowReaderTest, SlowReaderEndsAfterItsTimeout) {
  Stepper stepper(limits_);
  Reader slow(3);
  stepper.Add(MakeRequest(1, 4, 10), slow);
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().NextExpiry(), stepper.clock().Now() + kSlowReaderTimeout);
  stepper.clock().Advance(kSlowReaderTimeout - std::chrono::seconds(1));
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().running(), 1);
  stepper.clock().Advance(std::chrono::seconds(1));
  stepper.RunDry();
  slow.Take();
  EXPECT_EQ(slow.tokens().size(), 3U);
  ASSERT_TRUE(slow.ending());
  EXPECT_EQ(slow.ending()->reason, EndReason::kSlowReader);
  stepper.ExpectIdle();
}

TEST_P(SlowReaderTest, ReaderThatTakesInTimeStartsAnew) {
  Stepper stepper(limits_);
  Reader slow(3);
  stepper.Add(MakeRequest(1, 4, 10), slow);
  stepper.RunDry();
  stepper.clock().Advance(kSlowReaderTimeout);
  slow.Take();
  stepper.RunDry();
  stepper.clock().Advance(kSlowReaderTimeout - std::chrono::seconds(1));
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().running(), 1);
  slow.Take();
  stepper.RunDry();
  slow.Take();
  EXPECT_EQ(slow.tokens().size(), 9U);
}

TEST_P(SlowReaderTest, MatesOfAPausedReaderTakeTheStepsThatTheyTakeWithoutIt) {
  limits_.max_num_batched_tokens = 8;  // what a paused sequence took of it would be missed
  struct Course {
    std::vector<std::vector<std::int32_t>> counts;  // of the rows, by step
    std::vector<int> ends;                          // by mate: the step after which it has ended
    bool operator==(const Course&) const = default;
  };
  const auto run = [&](bool beside_paused) {
    Stepper stepper(limits_);
    Reader slow(3);
    if (beside_paused) stepper.Add(MakeRequest(9, 4, 100), slow);
    stepper.RunDry();
    EXPECT_EQ(stepper.scheduler().running(), beside_paused ? 1 : 0);
    const std::size_t before = stepper.runner().plans().size();
    std::vector<Reader> mates(4);
    for (std::size_t i = 0; i < mates.size(); ++i) {
      const auto more = static_cast<std::int32_t>(i);
      stepper.Add(MakeRequest(i, 5 + 9 * more, 30 + 7 * more), mates[i]);
    }
    Course course{.counts = {}, .ends = std::vector<int>(mates.size())};
    for (int step = 1; stepper.Turn(); ++step) {
      for (std::size_t i = 0; i < mates.size(); ++i) {
        mates[i].Take();
        if (mates[i].ending() && course.ends[i] == 0) course.ends[i] = step;
      }
    }
    const std::vector<step::Plan> plans = stepper.runner().plans();
    for (std::size_t i = before; i < plans.size(); ++i) {
      std::vector<std::int32_t>& counts = course.counts.emplace_back();
      for (const step::Row& row : plans[i].rows) counts.push_back(row.count);
    }
    EXPECT_EQ(stepper.scheduler().running(), beside_paused ? 1 : 0);
    return course;
  };
  const Course alone = run(false);
  for (const int end : alone.ends) EXPECT_GE(end, 30);
  EXPECT_EQ(run(true), alone);
}

}  // namespace
}  // namespace thinkwire::worker::engine
