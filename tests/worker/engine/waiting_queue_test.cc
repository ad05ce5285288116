#include "worker/engine/waiting_queue.h"

#include <gtest/gtest.h>

#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

constexpr Clock::TimePoint kStart{};

struct Waiter {
  Waiter(RequestHandle handle, Peer& peer, std::uint64_t arrival_step = 0)
      : sequence(handle, MakeRequest(handle, 4, 4), 4, reader.stream(), arrival_step, &peer) {}
  Reader reader;
  Sequence sequence;
};

std::vector<std::int32_t> Told(Waiter& waiter) {
  waiter.reader.Take();
  return waiter.reader.queue_positions();
}

TEST(WaitingQueue, IsOrderedByArrival) {
  Peer peer;
  Waiter first(1, peer);
  Waiter second(2, peer);
  WaitingQueue queue;
  queue.Add(second.sequence, 0);
  queue.Add(first.sequence, 0);
  EXPECT_EQ(queue.size(), 2);
  EXPECT_EQ(&queue.front(), &first.sequence);
  queue.Remove(first.sequence);
  EXPECT_EQ(&queue.front(), &second.sequence);
}

TEST(WaitingQueue, IsOrderedByRankBeforeArrival) {
  Peer peer;
  Waiter early(1, peer);
  Waiter late(2, peer);
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
  Peer peer;
  Waiter preempted(2, peer);
  Waiter fresh(1, peer);
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
  Peer peer;
  Waiter first(1, peer);
  Waiter last(2, peer);
  Waiter between(3, peer);
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
  Peer peer;
  Waiter first(1, peer);
  Waiter second(2, peer);
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
  Peer peer;
  Waiter a(1, peer);
  Waiter b(2, peer);
  Waiter c(3, peer);
  Waiter d(4, peer);
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
  Peer peer;
  Waiter preempted(1, peer);
  Waiter waiting(2, peer);
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

TEST(WaitingQueue, WhoHasFewestRunningIsNext) {
  Peer busy{.running = 2};
  Peer idle{.running = 1};
  Waiter early(1, busy);
  Waiter late(2, idle);
  WaitingQueue queue;
  queue.Add(early.sequence, 0);
  queue.Add(late.sequence, 1'000'000);
  EXPECT_EQ(&queue.front(), &late.sequence);
  idle.running = 2;
  EXPECT_EQ(&queue.front(), &early.sequence);
}

TEST(WaitingQueue, AgeCountsFromWhenThePeerWasLastServed) {
  constexpr PrefillOrder kOrder{.patience = 16, .budget = 64};
  Peer served{.served_step = 100};
  Peer waits;
  Waiter first(1, served, 0);
  Waiter second(2, waits, 90);
  WaitingQueue queue(kOrder);
  queue.Add(first.sequence, kOrder.Rank(4, 0));
  queue.Add(second.sequence, kOrder.Rank(4, 90));
  EXPECT_EQ(&queue.front(), &second.sequence);
  // So much longer a prompt lets the other's pass, for as long as PrefillOrder says.
  queue.Remove(second.sequence);
  queue.Add(second.sequence, kOrder.Rank(4 + 50, 90));
  EXPECT_EQ(&queue.front(), &first.sequence);
  served.served_step = 110;
  EXPECT_EQ(&queue.front(), &second.sequence);
}

TEST(WaitingQueue, APreemptedOneDoesNotPassAnotherPeersThatWaitedBefore) {
  constexpr PrefillOrder kOrder{.patience = 16, .budget = 64};
  Peer peer{.served_step = 100};
  Peer other;
  Waiter preempted(1, peer);
  preempted.sequence.Admit(0);
  preempted.sequence.Preempt();
  preempted.sequence.Requeue();
  Waiter fresh(2, other, 90);
  WaitingQueue queue(kOrder);
  queue.Add(preempted.sequence, 0);
  queue.Add(fresh.sequence, kOrder.Rank(4, 90));
  EXPECT_EQ(&queue.front(), &fresh.sequence);
  EXPECT_TRUE(queue.FrontComesBeforePreempted(100));
  EXPECT_FALSE(queue.FrontComesBeforePreempted(91)) << "64 ranks a step, and it has 64";
}

TEST(WaitingQueue, PositionsGoRoundThePeers) {
  Peer flood{.running = 1};
  Peer honest;
  Waiter a(1, flood);
  Waiter b(2, flood);
  Waiter c(3, honest);
  Waiter d(4, honest);
  WaitingQueue queue;
  for (Waiter* waiter : {&a, &b, &c, &d}) queue.Add(waiter->sequence, 0);
  queue.Report(kStart);
  EXPECT_EQ(Told(c), (std::vector<std::int32_t>{0}));
  EXPECT_EQ(Told(a), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(Told(d), (std::vector<std::int32_t>{2}));
  EXPECT_EQ(Told(b), (std::vector<std::int32_t>{3}));
}

}  // namespace
}  // namespace thinkwire::worker::engine
