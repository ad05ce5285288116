// Sequences whose readers are behind while others want what they hold.

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

constexpr std::size_t kOutbox = 8;

// By D, the plans in flight.
class ParkingTest : public testing::TestWithParam<std::int32_t> {
 protected:
  // Reads all that comes until the ending.
  static void ReadToTheEnd(Stepper& stepper, Reader& reader) {
    for (int turns = 0; !reader.ending() && turns < 10'000; ++turns) {
      reader.Take();
      stepper.RunDry();
      reader.Take();
    }
    ASSERT_TRUE(reader.ending());
  }

  step::Limits limits_ = MakeLimits(GetParam());
};

INSTANTIATE_TEST_SUITE_P(InFlight, ParkingTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(ParkingTest, APausedSequenceGivesItsSlotToWhoWaits) {
  limits_.max_num_seqs = 1;
  for (const bool caches : {true, false}) {
    Stepper stepper(limits_, FakeModel(kVocab), caches);
    Reader unread(kOutbox);
    Reader mate;
    const Request unread_request = MakeRequest(1, 9, 100);
    const Request mate_request = MakeRequest(2, 9, 50);
    stepper.Add(unread_request, unread);
    stepper.RunDry();
    EXPECT_EQ(stepper.scheduler().running(), 1) << "nobody else wants the slot";
    EXPECT_EQ(stepper.scheduler().paused(), 1);
    EXPECT_EQ(stepper.scheduler().parked(), 0);
    stepper.Add(mate_request, mate);
    stepper.RunDry();
    mate.Take();
    ExpectTokens(mate.tokens(), Alone(stepper.model(), mate_request, 50), true);
    EXPECT_EQ(stepper.scheduler().parked(), 1);
    EXPECT_EQ(stepper.scheduler().paused(), 0);
    EXPECT_EQ(stepper.scheduler().running(), 0);
    EXPECT_EQ(stepper.scheduler().queued(), 0);
    EXPECT_EQ(stepper.scheduler().pool().referenced(), 0);
    ReadToTheEnd(stepper, unread);
    ExpectTokens(unread.tokens(), Alone(stepper.model(), unread_request, 100), true);
    EXPECT_EQ(unread.ending()->preemptions, 0);
    // It had 16 full tokens in blocks of four; without the cache all of them were lost.
    EXPECT_EQ(stepper.scheduler().recomputed_tokens(), caches ? 0U : 16U);
    stepper.ExpectIdle();
  }
}

TEST_P(ParkingTest, PausedSequencesGiveTheirBlocksBeforeAnyoneIsPreempted) {
  limits_.num_blocks = 14;
  Stepper stepper(limits_);
  std::vector<Reader> unread;
  for (int i = 0; i < 2; ++i) unread.emplace_back(kOutbox);
  Reader grows;
  stepper.Add(MakeRequest(0, 8, 40), unread[0]);
  stepper.Add(MakeRequest(1, 8, 40), unread[1]);
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().pool().referenced(), 8);
  const Request request = MakeRequest(2, 4, 44);  // twelve blocks at its end
  stepper.Add(request, grows);
  stepper.RunDry();
  grows.Take();
  ExpectTokens(grows.tokens(), Alone(stepper.model(), request, 44), true);
  EXPECT_EQ(stepper.scheduler().preemptions(), 0U);
  EXPECT_EQ(stepper.scheduler().parked(), 2);
  for (std::uint64_t i = 0; i < 2; ++i) {
    ReadToTheEnd(stepper, unread[i]);
    ExpectTokens(unread[i].tokens(), Alone(stepper.model(), MakeRequest(i, 8, 40), 40), true);
  }
  stepper.ExpectIdle();
}

TEST_P(ParkingTest, BlocksForANewSequenceComeFromThePausedToo) {
  limits_.num_blocks = 12;
  Stepper stepper(limits_);
  Reader unread(kOutbox);
  Reader large;
  stepper.Add(MakeRequest(1, 8, 40), unread);
  stepper.RunDry();
  const Request request = MakeRequest(2, 40, 4);  // eleven blocks
  stepper.Add(request, large);
  stepper.RunDry();
  large.Take();
  ExpectTokens(large.tokens(), Alone(stepper.model(), request, 4), true);
  EXPECT_EQ(stepper.scheduler().parked(), 1);
}

TEST_P(ParkingTest, TheOneThatIsBehindForLongestIsPutOutFirst) {
  limits_.max_num_seqs = 2;
  Stepper stepper(limits_);
  std::vector<Reader> unread;
  for (int i = 0; i < 2; ++i) unread.emplace_back(kOutbox);
  Reader mate;
  // The second draws its eight tokens while the first has its prompt computed.
  limits_.max_num_batched_tokens = 64;
  const RequestHandle first = stepper.Add(MakeRequest(1, 4, 40), unread[0]);
  stepper.RunDry();
  stepper.clock().Advance(std::chrono::seconds(1));
  stepper.Add(MakeRequest(2, 4, 40), unread[1]);
  stepper.RunDry();
  stepper.clock().Advance(std::chrono::seconds(1));
  unread[0].Take();
  stepper.RunDry();  // which makes the first the later one
  stepper.Add(MakeRequest(3, 4, 40), mate);
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().parked(), 1);
  stepper.scheduler().End(first, EndReason::kCancelled);
  EXPECT_EQ(stepper.scheduler().running(), 0) << "the first had kept its slot";
}

TEST_P(ParkingTest, AReaderThatComesBackGetsInLineByItsArrival) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  Reader unread(kOutbox);
  std::vector<Reader> mates(3);
  stepper.Add(MakeRequest(0, 4, 40), unread);
  stepper.RunDry();
  for (std::uint64_t i = 0; i < 2; ++i) stepper.Add(MakeRequest(i + 1, 4, 10), mates[i]);
  ASSERT_TRUE(stepper.Turn());
  EXPECT_EQ(stepper.scheduler().parked(), 1);
  EXPECT_EQ(stepper.scheduler().queued(), 1) << "who is parked keeps nobody waiting";
  while (!mates[0].ending()) {
    ASSERT_TRUE(stepper.Turn());
    mates[0].Take();
  }
  ASSERT_TRUE(stepper.Turn());  // the second has begun
  stepper.Add(MakeRequest(3, 4, 10), mates[2]);
  unread.Take();
  ASSERT_TRUE(stepper.Turn());
  EXPECT_EQ(stepper.scheduler().parked(), 0);
  EXPECT_EQ(stepper.scheduler().queued(), 2);
  while (!mates[2].started()) {
    ASSERT_TRUE(stepper.Turn());
    mates[2].Take();
  }
  EXPECT_EQ(unread.stream()->room(), 0U) << "it ran again before the one that came later";
  EXPECT_TRUE(unread.tokens().size() == kOutbox);
}

TEST_P(ParkingTest, ComesBackOnlyOnceHalfOfItsStreamIsFree) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  Reader unread(kOutbox);
  Reader mate;
  stepper.Add(MakeRequest(1, 4, 40), unread);
  stepper.RunDry();
  stepper.Add(MakeRequest(2, 4, 10), mate);
  stepper.RunDry();
  unread.Take(kOutbox / 2 - 1);
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().parked(), 1);
  EXPECT_EQ(unread.stream()->room(), kOutbox / 2 - 1);
  unread.Take(1);
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().parked(), 0);
  EXPECT_EQ(unread.stream()->room(), 0U);
}

TEST_P(ParkingTest, TheClockOfAParkedReaderRuns) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  Reader unread(kOutbox);
  Reader mate;
  stepper.Add(MakeRequest(1, 4, 40), unread);
  stepper.RunDry();
  const Clock::TimePoint behind_since = stepper.clock().Now();
  stepper.clock().Advance(std::chrono::seconds(30));
  stepper.Add(MakeRequest(2, 4, 10), mate);
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().parked(), 1);
  EXPECT_EQ(stepper.scheduler().NextExpiry(), behind_since + kSlowReaderTimeout);
  stepper.clock().Advance(std::chrono::seconds(30));
  stepper.RunDry();
  unread.Take();
  ASSERT_TRUE(unread.ending());
  EXPECT_EQ(unread.ending()->reason, EndReason::kSlowReader);
  stepper.ExpectIdle();
}

TEST_P(ParkingTest, TheClockOfAReaderInTheQueueRuns) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  Reader slow(kOutbox);
  Reader mate;
  stepper.Add(MakeRequest(1, 4, 40), slow);
  stepper.RunDry();
  stepper.Add(MakeRequest(2, 4, 200), mate);
  ASSERT_TRUE(stepper.Turn());
  slow.Take(kOutbox * 3 / 4);
  ASSERT_TRUE(stepper.Turn());
  EXPECT_EQ(stepper.scheduler().queued(), 1);
  stepper.clock().Advance(kSlowReaderTimeout);
  ASSERT_TRUE(stepper.Turn());
  EXPECT_EQ(stepper.scheduler().queued(), 1) << "it took enough in time";
  stepper.clock().Advance(kSlowReaderTimeout);
  ASSERT_TRUE(stepper.Turn());
  slow.Take();
  ASSERT_TRUE(slow.ending());
  EXPECT_EQ(slow.ending()->reason, EndReason::kSlowReader);
}

TEST_P(ParkingTest, DeadlinesAndCancelsReachTheParked) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  std::vector<Reader> unread;
  for (int i = 0; i < 3; ++i) unread.emplace_back(kOutbox);
  Request request = MakeRequest(0, 4, 40);
  request.deadline = stepper.clock().Now() + std::chrono::seconds(5);
  stepper.Add(request, unread[0]);
  stepper.RunDry();
  const RequestHandle cancelled = stepper.Add(MakeRequest(1, 4, 40), unread[1]);
  stepper.RunDry();
  stepper.Add(MakeRequest(2, 4, 40), unread[2]);
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().parked(), 2);
  stepper.scheduler().End(cancelled, EndReason::kCancelled);
  stepper.clock().Advance(std::chrono::seconds(5));
  stepper.RunDry();
  EXPECT_EQ(stepper.scheduler().parked(), 0);
  for (Reader& reader : unread) reader.Take();
  EXPECT_EQ(unread[0].ending()->reason, EndReason::kDeadline);
  EXPECT_EQ(unread[1].ending()->reason, EndReason::kCancelled);
  EXPECT_FALSE(unread[2].ending());
}

TEST_P(ParkingTest, OfTooManyParkedTheFirstIsGivenUp) {
  constexpr std::size_t kMaxParked = 3;
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_, FakeModel(kVocab), true, kMaxParked);
  std::vector<Reader> unread;
  for (int i = 0; i < 6; ++i) unread.emplace_back(kOutbox);
  for (std::uint64_t i = 0; i < unread.size(); ++i) {
    stepper.Add(MakeRequest(i, 4, 40), unread[i]);
    stepper.RunDry();
  }
  EXPECT_EQ(stepper.scheduler().parked(), static_cast<std::int32_t>(kMaxParked));
  EXPECT_EQ(stepper.scheduler().running(), 1);
  for (Reader& reader : unread) reader.Take();
  for (std::size_t i = 0; i < unread.size(); ++i) {
    EXPECT_EQ(unread[i].ending().has_value(), i < 2) << i;
  }
  EXPECT_EQ(unread[0].ending()->reason, EndReason::kSlowReader);
}

}  // namespace
}  // namespace thinkwire::worker::engine
