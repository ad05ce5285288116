// A stream whose next worker fails, too, or which is the cause.

#include <gtest/gtest.h>

#include <cstddef>
#include <utility>

#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "tests/router/move_fixture.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;

TEST_F(MoveTest, PoisonIsGivenToNoThirdWorker) {
  EndAfter(0, 4);
  EndAfter(1, 4);
  const auto sink = Ask();
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "POISON");
  EXPECT_EQ(sink->WaitForEnd().code(), Code::kInternal);
  EXPECT_EQ(workers_[2].num_calls(), 0);
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 10);
  EXPECT_EQ(Metric("thinkwire_router_poisoned_total"), 1);
}

// One that was beside it where it was lost first may be the cause as well.
TEST_F(MoveTest, WhoWasNotAloneIsPoisonAfterThreeWorkers) {
  const auto neighbour = AskAndStay();
  Generation& other = latest();
  for (std::size_t worker = 0; worker < 3; ++worker) EndAfter(worker, 4);
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "POISON");
  EXPECT_EQ(workers_[2].num_calls(), 1);
  EXPECT_FALSE(neighbour->ended());
  other.Cancel();
  EXPECT_TRUE(absl::IsCancelled(neighbour->WaitForEnd()));
}

TEST_F(MoveTest, WhoWasNotAloneOutlivesTwoWorkersAtOnePlace) {
  const auto neighbour = AskAndStay();
  Generation& other = latest();
  for (std::size_t worker = 0; worker < 2; ++worker) EndAfter(worker, 4);
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 2);
  other.Cancel();
  EXPECT_TRUE(absl::IsCancelled(neighbour->WaitForEnd()));
}

TEST_F(MoveTest, WhoMayBeTheCauseIsNotGivenTheLastWorker) {
  const auto neighbour = AskAndStay();
  Generation& other = latest();
  SetDraining(2, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  for (std::size_t worker = 0; worker < 2; ++worker) EndAfter(worker, 4);
  const auto sink = Ask();
  ASSERT_TRUE(pool_.WaitUntil([&] { return moves_.num_waiting() == 1; }));
  workers_[1].SetScript({.events = Stream()});
  SetDraining(0, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 1));
  Pass(kSecondChance);
  EXPECT_EQ(workers_[1].num_calls(), 1) << "nobody would be left";
  SetDraining(2, false);
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  Pass(kWorkerSearchInterval);
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 2);
  other.Cancel();
  EXPECT_TRUE(absl::IsCancelled(neighbour->WaitForEnd()));
}

TEST_F(MoveTest, DrainsAreNoPoison) {
  for (int i = 0; i < 2; ++i) EndAfter(i, 4, rpc::Error(Code::kUnavailable, "DRAINING", "later"));
  const auto sink = Ask();
  EXPECT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 2);
}

TEST_F(MoveTest, AnErrorOfTheStreamIsItsEnd) {
  EndAfter(0, 4, rpc::Error(Code::kInternal, "NOT_FINITE", "the logits are not finite"));
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "NOT_FINITE");
  EXPECT_EQ(workers_[1].num_calls(), 0);
}

TEST_F(MoveTest, ARefusalOfTheNextIsNoReasonToEndIt) {
  EndAfter(0, 4);
  workers_[1].SetScript({.end = rpc::Error(Code::kResourceExhausted, "QUEUE_FULL", "full")});
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 1);
  EXPECT_EQ(workers_[2].last_call().request.attempt(), 3);
}

TEST_F(MoveTest, OneWhoRepeatsWhatWasSentBreaksTheContract) {
  EndAfter(0, 4);
  workers_[1].SetScript({.events = Stream(), .tamper = [](v1::WorkerGenerateResponse& message) {
                           if (message.seq() == 3) *message.mutable_event() = Stream()[3];
                         }});
  EXPECT_EQ(Ask()->WaitForEnd().code(), Code::kInternal);
}

TEST_F(MoveTest, WhoLiesIsFollowedByAnother) {
  for (const std::size_t worker : {0, 1}) HaveLie(worker, 3);
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 2);
  EXPECT_EQ(sink->events().at(3).moved().reason(), "the worker broke the contract");
  EXPECT_FALSE(sink->events().at(3).moved().exact()) << "what it said may be anything";
}

TEST_F(MoveTest, ALiarIsDistrustedAndThenEjected) {
  HaveLie(0, 3);
  for (int i = 0; i < kFailuresToEject; ++i) {
    const auto sink = Ask();
    ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
    EXPECT_EQ(sink->events().at(3).moved().previous_worker(), workers_[0].address());
    clock_.Advance(kLastDistrust);
  }
  EXPECT_EQ(pool_->Describe(0).out, 1);
}

TEST_F(MoveTest, WhereAllLieItIsPoison) {
  for (std::size_t worker = 0; worker < 3; ++worker) HaveLie(worker, 2);
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "POISON");
  EXPECT_EQ(workers_[2].num_calls(), 0);
}

TEST_F(MoveTest, WithoutABudgetALieIsTheEnd) {
  while (retries_.Withdraw()) {
  }
  HaveLie(0, 3);
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "WORKER_PROTOCOL");
  EXPECT_EQ(workers_[1].num_calls(), 0);
}

}  // namespace
}  // namespace thinkwire::router
