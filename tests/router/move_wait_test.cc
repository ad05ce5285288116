// A stream that has lost its worker and waits for another.

#include <gtest/gtest.h>

#include <chrono>

#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "tests/router/move_fixture.h"

namespace thinkwire::router {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_F(MoveTest, ItsTimesAreThoseOfAllAttempts) {
  EndAfter(0, 8);  // the last is of the answer
  LeaveTheFirstAlone();
  const auto sink = Ask();
  ASSERT_TRUE(pool_.WaitUntil([&] { return moves_.num_waiting() == 1; }));
  SetDraining(1, false);
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  Pass(milliseconds(700));
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  const v1::Timings timings = sink->events().back().completed().timings();
  EXPECT_EQ(rpc::ReadDuration(timings.queue()), Clock::Duration::zero()) << "the first's";
  EXPECT_EQ(rpc::ReadDuration(timings.prefill()), Clock::Duration::zero());
  EXPECT_EQ(rpc::ReadDuration(timings.answer()), milliseconds(700)) << "with the pause";
  EXPECT_EQ(rpc::ReadDuration(timings.total()), milliseconds(700));
}

TEST_F(MoveTest, OneThatComesInTimeGoesOn) {
  const auto sink = AskAndLoseAll();
  Pass(milliseconds(500));
  EXPECT_FALSE(sink->ended());
  SetDraining(1, false);
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  Pass(milliseconds(100));
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 1);
}

TEST_F(MoveTest, TheSameMayComeBack) {
  const auto sink = AskAndLoseAll();
  workers_[0].SetScript({.events = Stream()});
  Pass(milliseconds(900));
  EXPECT_EQ(workers_[0].num_calls(), 1) << "too soon";
  Pass(milliseconds(100));
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 1);
}

TEST_F(MoveTest, WithoutOneItEndsAndTellsWhatItSpent) {
  const auto sink = AskAndLoseAll();
  SetDraining(0, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  Pass(milliseconds(9900));
  EXPECT_FALSE(sink->ended());
  Pass(milliseconds(100));
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "WORKER_LOST");
  EXPECT_TRUE(rpc::RetryAfter(sink->WaitForEnd()).has_value());
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 2);
  EXPECT_EQ(sink->usage()->prompt_tokens(), 3);
}

TEST_F(MoveTest, WhoAsksForItIsToldWhileAnotherIsLookedFor) {
  EndAfter(0, 3);
  LeaveTheFirstAlone();
  v1::GenerateRequest request = Question();
  request.set_progress(true);
  const auto sink = Ask(1000, {}, request);
  ASSERT_TRUE(sink->WaitForEvents(3));
  ASSERT_TRUE(pool_.WaitUntil([&] { return moves_.num_waiting() == 1; }));
  SetDraining(0, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  Pass(milliseconds(400));
  EXPECT_EQ(sink->events().size(), 3u);
  for (int i = 0; i < 10; ++i) Pass(milliseconds(100));
  const Events seen = sink->events();
  ASSERT_EQ(seen.size(), 5u) << "after 500 and 1,000 of 1,400 ms";
  EXPECT_EQ(seen[3].progress().reason(), v1::SILENCE_REASON_MOVING);
  EXPECT_EQ(seen[4].progress().reason(), v1::SILENCE_REASON_MOVING);
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
}

TEST_F(MoveTest, ACancelEndsTheWait) {
  const auto sink = AskAndLoseAll();
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
  Pass(seconds(1));
}

TEST_F(MoveTest, TheDeadlineEndsTheWait) {
  const auto sink = AskAndLoseAll({.deadline = clock_.Now() + seconds(5)});
  SetDraining(0, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  Pass(milliseconds(4900));
  EXPECT_FALSE(sink->ended());
  Pass(milliseconds(100));
  EXPECT_TRUE(absl::IsDeadlineExceeded(sink->WaitForEnd())) << sink->WaitForEnd();
}

}  // namespace
}  // namespace thinkwire::router
