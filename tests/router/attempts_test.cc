#include "router/attempts.h"

#include <gtest/gtest.h>

#include "common/rpc/status_details.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;

absl::Status Refusal(const char* reason, Code code = Code::kUnavailable) {
  return rpc::WithRetryAfter(rpc::Error(code, reason, "no"));
}

TEST(AttemptsTest, RefusalsAndLossesAreTriedAgain) {
  for (const char* reason :
       {"DRAINING", "SHUTTING_DOWN", "QUEUE_FULL", "TOO_MANY_REQUEST_BYTES", "TOO_MANY_CALLS",
        "WORKER_LIMIT", "WORKER_LOST", "WORKER_PROTOCOL", "FINGERPRINT_MISMATCH"}) {
    Attempts attempts;
    attempts.Begin(7);
    EXPECT_EQ(attempts.Describe(), "");
    attempts.Fail(Refusal(reason));
    EXPECT_TRUE(attempts.MayGoOn()) << reason;
  }
}

TEST(AttemptsTest, WhatTheRequestIsToBlameForIsNot) {
  for (const char* reason : {"INVALID_FIELD", "DEADLINE_EXCEEDED", "NOT_FINITE", "SLOW_CONSUMER",
                             "MESSAGE_TOO_LARGE", "UNKNOWN_FIELD"}) {
    Attempts attempts;
    attempts.Begin(0);
    attempts.Fail(Refusal(reason));
    EXPECT_FALSE(attempts.MayGoOn()) << reason;
    EXPECT_EQ(rpc::ErrorReason(attempts.Best()), reason);
  }
}

TEST(AttemptsTest, ThreeAreEnough) {
  Attempts attempts;
  for (const std::size_t worker : {4u, 2u, 9u}) {
    attempts.Begin(worker);
    attempts.Fail(Refusal("DRAINING"));
  }
  EXPECT_FALSE(attempts.MayGoOn());
  EXPECT_EQ(attempts.tried(), (std::vector<std::size_t>{4, 2, 9}));
}

TEST(AttemptsTest, SaysWhatBecameOfTheEarlierOnes) {
  Attempts attempts;
  attempts.Begin(0);
  attempts.Fail(Refusal("DRAINING"));
  attempts.Begin(1);
  EXPECT_EQ(attempts.Describe(), "second worker tried: the first was draining");
  attempts.Fail(Refusal("QUEUE_FULL", Code::kResourceExhausted));
  attempts.Begin(2);
  EXPECT_EQ(attempts.Describe(),
            "third worker tried: the first was draining, the second had a full queue");
}

TEST(AttemptsTest, ARefusalSaysMoreThanALoss) {
  Attempts attempts;
  attempts.Begin(0);
  attempts.Fail(Refusal("QUEUE_FULL", Code::kResourceExhausted));
  attempts.Begin(1);
  attempts.Fail(Refusal("WORKER_LOST"));
  EXPECT_EQ(rpc::ErrorReason(attempts.Best()), "QUEUE_FULL");
  attempts.Begin(2);
  attempts.Fail(rpc::Error(Code::kInvalidArgument, "INVALID_FIELD", "no"));
  EXPECT_EQ(rpc::ErrorReason(attempts.Best()), "INVALID_FIELD");
}

}  // namespace
}  // namespace thinkwire::router
