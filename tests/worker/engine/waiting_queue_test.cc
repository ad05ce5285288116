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
  queue.Add(second.sequence);
  queue.Add(first.sequence);
  EXPECT_EQ(queue.size(), 2);
  EXPECT_EQ(&queue.front(), &first.sequence);
  queue.Remove(first.sequence);
  EXPECT_EQ(&queue.front(), &second.sequence);
}

TEST(WaitingQueue, TellsNewReadersAtOnce) {
  Waiter first(1);
  Waiter second(2);
  WaitingQueue queue;
  queue.Add(first.sequence);
  queue.Report(kStart);
  queue.Add(second.sequence);
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
  for (Waiter* waiter : {&a, &b, &c, &d}) queue.Add(waiter->sequence);
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
  queue.Add(waiting.sequence);
  queue.Report(kStart);
  EXPECT_EQ(Told(waiting), (std::vector<std::int32_t>{0}));
  queue.Add(preempted.sequence);
  queue.Report(kStart + WaitingQueue::kReportInterval);
  EXPECT_EQ(Told(preempted), std::vector<std::int32_t>{});
  EXPECT_EQ(Told(waiting), (std::vector<std::int32_t>{0, 1}));
}

}  // namespace
}  // namespace thinkwire::worker::engine
