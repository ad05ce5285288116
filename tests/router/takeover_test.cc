#include "router/takeover.h"

#include <gtest/gtest.h>

#include "common/peer_limits.h"
#include "common/rpc/status_details.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;
using Verdict = Takeover::Verdict;
using std::chrono::milliseconds;
using std::chrono::seconds;

absl::Status Error(const char* reason, Code code = Code::kUnavailable) {
  return rpc::Error(code, reason, "no");
}

class TakeoverTest : public testing::Test {
 protected:
  TakeoverTest() { takeover_.Begin("a"); }

  Verdict Lose(const char* reason, std::int64_t tokens, std::size_t worker = 0) {
    return takeover_.Lose(Error(reason), {.worker = worker, .tokens = tokens}, now_);
  }

  Takeover takeover_{seconds(10)};
  Clock::TimePoint now_{std::chrono::hours(1)};
};

TEST_F(TakeoverTest, AnotherGoesOnForWhoeverHasLeft) {
  for (const char* reason :
       {"WORKER_LOST", "WORKER_SILENT", "DRAINING", "SHUTTING_DOWN", "WORKER_PROTOCOL"}) {
    Takeover takeover(seconds(10));
    takeover.Begin("a");
    EXPECT_EQ(takeover.Lose(Error(reason), {}, now_), Verdict::kSearch) << reason;
  }
}

TEST_F(TakeoverTest, AnErrorOfTheStreamIsItsEnd) {
  for (const char* reason : {"NOT_FINITE", "SLOW_CONSUMER", "QUEUE_FULL"}) {
    EXPECT_EQ(Lose(reason, 0), Verdict::kEnd) << reason;
  }
}

TEST_F(TakeoverTest, WhateverAnotherSaysBeforeItBeginsTheNextIsAsked) {
  EXPECT_EQ(Lose("WORKER_LOST", 5), Verdict::kSearch);
  for (const char* reason : {"QUEUE_FULL", "INVALID_FIELD", "WORKER_PROTOCOL", "WORKER_LOST"}) {
    EXPECT_EQ(Lose(reason, 5, 1), Verdict::kGoOn) << reason;
  }
  const absl::Status late = Error("DEADLINE_EXCEEDED", Code::kDeadlineExceeded);
  EXPECT_EQ(takeover_.Lose(late, {.worker = 1, .tokens = 5}, now_), Verdict::kEnd);
}

TEST_F(TakeoverTest, TwoLossesInARowAtOnePlaceArePoison) {
  EXPECT_EQ(Lose("WORKER_LOST", 100), Verdict::kSearch);
  takeover_.Begin("b");
  EXPECT_EQ(Lose("WORKER_SILENT", 100 + kPoisonTokens - 1), Verdict::kPoison);
  const absl::Status poison = takeover_.Poison("request-7");
  EXPECT_EQ(poison.code(), Code::kInternal);
  EXPECT_EQ(rpc::ErrorReason(poison), "POISON");
  EXPECT_EQ(poison.message(),
            "the request request-7 was running on 2 workers in a row when each failed, on a and "
            "then on b "
            "at last, and is given to no other: no");
}

TEST_F(TakeoverTest, WhoCameFurtherOrWasDrainedIsNoPoison) {
  EXPECT_EQ(Lose("WORKER_LOST", 100), Verdict::kSearch);
  takeover_.Begin("b");
  EXPECT_EQ(Lose("WORKER_LOST", 100 + kPoisonTokens), Verdict::kSearch);
  takeover_.Begin("c");
  EXPECT_EQ(Lose("DRAINING", 100 + kPoisonTokens), Verdict::kSearch);
}

TEST_F(TakeoverTest, WhoWasNotAloneIsTriedOnceMore) {
  const auto lose = [this](std::size_t worker) {
    return takeover_.Lose(Error("WORKER_LOST"), {.worker = worker, .together = 5}, now_);
  };
  EXPECT_EQ(lose(0), Verdict::kSearch);
  EXPECT_FALSE(takeover_.is_suspect());
  takeover_.Begin("b");
  EXPECT_EQ(lose(1), Verdict::kSearch);
  EXPECT_TRUE(takeover_.is_suspect());
  takeover_.Begin("c");
  EXPECT_EQ(lose(2), Verdict::kPoison);
}

TEST_F(TakeoverTest, WhatIsLiedToAStreamIsAboutItAlone) {
  const auto lose = [this](std::size_t worker) {
    return takeover_.Lose(Error("WORKER_PROTOCOL", Code::kInternal),
                          {.worker = worker, .together = 5}, now_);
  };
  EXPECT_EQ(lose(0), Verdict::kSearch);
  takeover_.Begin("b");
  EXPECT_EQ(lose(1), Verdict::kPoison);
}

TEST_F(TakeoverTest, ThereIsSoMuchTimeForASearch) {
  Lose("WORKER_LOST", 0);
  takeover_.SearchFrom(now_);
  EXPECT_TRUE(takeover_.MayTry(now_));
  EXPECT_FALSE(takeover_.IsOver(now_ + milliseconds(9999)));
  EXPECT_TRUE(takeover_.IsOver(now_ + seconds(10)));
  EXPECT_EQ(takeover_.NextLook(now_), now_ + kWorkerSearchInterval);
  EXPECT_EQ(takeover_.NextLook(now_ + milliseconds(9999)), now_ + seconds(10));
  const absl::Status status = takeover_.NobodyIsLeft();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(rpc::ErrorReason(status), "WORKER_LOST");
  EXPECT_TRUE(rpc::RetryAfter(status).has_value());
  EXPECT_EQ(status.message(),
            "the worker a was lost, and no other went on with the request within 10 s");
}

TEST_F(TakeoverTest, TheTimeCountsFromItsPlaceInTheSchedule) {
  Lose("WORKER_LOST", 0);
  takeover_.SearchFrom(now_ + seconds(3));
  EXPECT_FALSE(takeover_.MayTry(now_));
  EXPECT_EQ(takeover_.NextLook(now_), now_ + seconds(3));
  EXPECT_FALSE(takeover_.IsOver(now_ + seconds(12)));
  EXPECT_TRUE(takeover_.IsOver(now_ + seconds(13)));
}

TEST_F(TakeoverTest, WhoHasFailedItIsAskedAgainLater) {
  Lose("WORKER_LOST", 0, 4);
  Lose("QUEUE_FULL", 0, 2);
  EXPECT_EQ(takeover_.Avoided(now_), (std::vector<std::size_t>{4, 2}));
  now_ += kSecondChance;
  EXPECT_EQ(takeover_.Avoided(now_), (std::vector<std::size_t>{}));
  Lose("QUEUE_FULL", 0, 2);
  EXPECT_EQ(takeover_.Avoided(now_), (std::vector<std::size_t>{2}));
}

}  // namespace
}  // namespace thinkwire::router
