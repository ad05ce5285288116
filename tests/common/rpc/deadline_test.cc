#include "common/rpc/deadline.h"

#include <gtest/gtest.h>

#include <chrono>
#include <optional>

namespace thinkwire::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Clock::TimePoint kArrival{seconds(100)};

TEST(CancelStatus, IsTheClientsWithoutADeadline) {
  const absl::Status status = CancelStatus(std::nullopt, kArrival, kArrival + seconds(1000));
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(status.message(), "the client has cancelled");
}

TEST(CancelStatus, IsTheDeadlinesFromALittleBeforeIt) {
  const Clock::TimePoint deadline = kArrival + seconds(10);
  EXPECT_EQ(CancelStatus(deadline, kArrival, deadline - seconds(1)).code(),
            absl::StatusCode::kCancelled);
  const absl::Status status = CancelStatus(deadline, kArrival, deadline - milliseconds(190));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(status.message(), "the deadline has passed");
  EXPECT_TRUE(EndedByDeadline(deadline, kArrival, deadline));
}

}  // namespace
}  // namespace thinkwire::rpc
