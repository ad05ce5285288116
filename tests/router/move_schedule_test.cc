#include "router/move_schedule.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>

#include "tests/fakes/fake_clock.h"

namespace thinkwire::router {
namespace {

using std::chrono::milliseconds;

struct CountingWaiter final : MoveSchedule::Waiter {
  void OnTurn() override { ++turns; }
  int turns = 0;
};

TEST(MoveScheduleTest, ManyMayMoveAtOnceAndTheRestOneAfterAnother) {
  FakeClock clock;
  clock.Advance(std::chrono::hours(1));
  MoveSchedule schedule(clock);
  const Clock::TimePoint now = clock.Now();
  for (int i = 0; i < kMovesAtOnce; ++i) EXPECT_LE(schedule.TakePlace(), now) << i;
  Clock::TimePoint last = now;
  for (int i = 0; i < kMovesASecond; ++i) {
    const Clock::TimePoint place = schedule.TakePlace();
    EXPECT_GT(place, last) << i;
    last = place;
  }
  EXPECT_NEAR(ToSeconds(last - now), 1, 0.01);
  clock.Advance(std::chrono::seconds(2));
  for (int i = 0; i < kMovesAtOnce; ++i) EXPECT_LE(schedule.TakePlace(), clock.Now()) << i;
  EXPECT_GT(schedule.TakePlace(), clock.Now());
}

TEST(MoveScheduleTest, SuspectsMoveOneAfterAnotherButNoneWaitsForLong) {
  FakeClock clock;
  clock.Advance(std::chrono::hours(1));
  MoveSchedule schedule(clock);
  const Clock::TimePoint now = clock.Now();
  for (int i = 0; i <= 10; ++i) {
    EXPECT_EQ(schedule.TakePlaceOfSuspect(), now + i * MoveSchedule::kBetweenSuspects) << i;
  }
  EXPECT_EQ(schedule.TakePlaceOfSuspect(), now + MoveSchedule::kLongestSuspectWait);
  EXPECT_LE(schedule.TakePlace(), now) << "others do not wait for them";
}

TEST(MoveScheduleTest, CallsOnceWhenTheTimeHasCome) {
  FakeClock clock;
  MoveSchedule schedule(clock);
  const auto first = std::make_shared<CountingWaiter>();
  auto gone = std::make_shared<CountingWaiter>();
  schedule.CallAt(clock.Now() + milliseconds(10), first);
  schedule.CallAt(clock.Now() + milliseconds(10), gone);
  gone.reset();
  clock.Advance(milliseconds(9));
  schedule.Tick();
  EXPECT_EQ(first->turns, 0);
  clock.Advance(milliseconds(1));
  schedule.Tick();
  schedule.Tick();
  EXPECT_EQ(first->turns, 1);
}

TEST(MoveScheduleTest, ItsThreadCallsToo) {
  struct Promise final : MoveSchedule::Waiter {
    void OnTurn() override { called.set_value(); }
    std::promise<void> called;
  };
  MoveSchedule schedule(Clock::Real());
  schedule.Start();
  const auto waiter = std::make_shared<Promise>();
  schedule.CallAt(Clock::Real().Now() + milliseconds(5), waiter);
  EXPECT_EQ(waiter->called.get_future().wait_for(std::chrono::seconds(60)),
            std::future_status::ready);
  schedule.Stop();
  schedule.Stop();
}

}  // namespace
}  // namespace thinkwire::router
