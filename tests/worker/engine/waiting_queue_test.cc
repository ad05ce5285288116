#include "worker/engine/waiting_queue.h"

#include <gtest/gtest.h>

#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

constexpr Clock::TimePoint kStart{};

struct Waiter {
  explicit Waiter(RequestHandle handle)
      : sequence(handle, MakeRequest(handle, 4, 4), 4, reader.stream()) {}
  Reader reader;
  Sequence sequence;
};

std::vector<std::int32_t> Told(Waiter& waiter) {
  waiter.reader.Take();
  return waiter.reader.queue_positions();
}

TEST(WaitingQueue, IsOrderedByArrival) {
  Waiter first(1);
  Waiter second(2);
  WaitingQueue queue;
  queue.Add(second.sequence, 0);
  queue.Add(first.sequence, 0);
  EXPECT_EQ(queue.size(), 2);
  EXPECT_EQ(&queue.front(), &first.sequence);
  queue.Remove(first.sequence);
  EXPECT_EQ(&queue.front(), &second.sequence);
}

TEST(WaitingQueue, IsOrderedByRankBeforeArrival) {
  Waiter early(1);
  Waiter late(2);
  WaitingQueue queue;
  queue.Add(early.sequence, 20);
  queue.Add(late.sequence, 10);
  EXPECT_EQ(&queue.front(), &late.sequence);
  EXPECT_TRUE(queue.ComesBefore(11, 1));
  EXPECT_TRUE(queue.ComesBefore(10, 3)) << "of equals, who came first";
  EXPECT_FALSE(queue.ComesBefore(10, 1));
  queue.Remove(late.sequence);
  EXPECT_FALSE(queue.ComesBefore(11, 3));
}

TEST(WaitingQueue, PreemptedComeFirst) {
  Waiter preempted(2);
  Waiter fresh(1);
  preempted.sequence.Admit(0);
  preempted.sequence.Preempt();
  preempted.sequence.Requeue();
  WaitingQueue queue;
  queue.Add(fresh.sequence, 0);
  queue.Add(preempted.sequence, 1'000);
  EXPECT_EQ(&queue.front(), &preempted.sequence);
  EXPECT_TRUE(queue.ComesBefore(0, 1));
}

TEST(WaitingQueue, TellsANewReaderItsPlaceAmongOthers) {
  Waiter first(1);
  Waiter last(2);
  Waiter between(3);
  WaitingQueue queue;
  queue.Add(first.sequence, 0);
  queue.Add(last.sequence, 20);
  queue.Report(kStart);
  EXPECT_EQ(Told(last), (std::vector<std::int32_t>{1}));
  queue.Add(between.sequence, 10);
  queue.Report(kStart);
  EXPECT_EQ(Told(between), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(Told(last), (std::vector<std::int32_t>{1, 2}));
}

TEST(WaitingQueue, TellsNewReadersAtOnce) {
  Waiter first(1);
  Waiter second(2);
  WaitingQueue queue;
  queue.Add(first.sequence, 0);
  queue.Report(kStart);
  queue.Add(second.sequence, 0);
  queue.Report(kStart);
  queue.Report(kStart);
  EXPECT_EQ(Told(first), (std::vector<std::int32_t>{0}));
  EXPECT_EQ(Told(second), (std::vector<std::int32_t>{1}));
}

TEST(WaitingQueue, TellsMovesOnceAnInterval) {
  Waiter a(1);
  Waiter b(2);
  Waiter c(3);
  Waiter d(4);
  WaitingQueue queue;
  for (Waiter* waiter : {&a, &b, &c, &d}) queue.Add(waiter->sequence, 0);
  queue.Report(kStart);
  EXPECT_EQ(Told(d), (std::vector<std::int32_t>{3}));
  EXPECT_FALSE(queue.next_report());
  queue.Remove(a.sequence);
  queue.Report(kStart);
  EXPECT_EQ(Told(d), (std::vector<std::int32_t>{3, 2}));
  queue.Remove(b.sequence);
  queue.Report(kStart + WaitingQueue::kReportInterval / 2);
  EXPECT_EQ(Told(d), (std::vector<std::int32_t>{3, 2}));
  EXPECT_EQ(queue.next_report(), kStart + WaitingQueue::kReportInterval);
  queue.Report(kStart + WaitingQueue::kReportInterval);
  EXPECT_EQ(Told(d), (std::vector<std::int32_t>{3, 2, 1}));
  queue.Report(kStart + 5 * WaitingQueue::kReportInterval);
  EXPECT_EQ(Told(d), (std::vector<std::int32_t>{3, 2, 1}));
}

TEST(WaitingQueue, PreemptedCountsButIsToldNothing) {
  Waiter preempted(1);
  Waiter waiting(2);
  preempted.sequence.TellStarted();
  WaitingQueue queue;
  queue.Add(waiting.sequence, 0);
  queue.Report(kStart);
  EXPECT_EQ(Told(waiting), (std::vector<std::int32_t>{0}));
  queue.Add(preempted.sequence, 0);
  queue.Report(kStart + WaitingQueue::kReportInterval);
  EXPECT_EQ(Told(preempted), std::vector<std::int32_t>{});
  EXPECT_EQ(Told(waiting), (std::vector<std::int32_t>{0, 1}));
}

}  // namespace
}  // namespace thinkwire::worker::engine
