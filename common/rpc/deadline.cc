#include "common/rpc/deadline.h"

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>
#include <grpcpp/server_context.h>

namespace thinkwire::rpc {

std::optional<Clock::TimePoint> DeadlineOf(const grpc::CallbackServerContext& context,
                                           const Clock& clock) {
  const gpr_timespec deadline = context.raw_deadline();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  // Longer ones, and gRPC's infinity, would overflow.
  constexpr std::chrono::seconds kYear = std::chrono::hours(24 * 365);
  if (left.tv_sec > kYear.count()) return std::nullopt;
  return clock.Now() + std::chrono::seconds(left.tv_sec) + std::chrono::nanoseconds(left.tv_nsec);
}

void SetDeadline(Clock::TimePoint deadline, const Clock& clock, grpc::ClientContext& context) {
  const std::chrono::nanoseconds left = deadline - clock.Now();
  context.set_deadline(gpr_time_from_nanos(left.count(), GPR_TIMESPAN));
}

bool EndedByDeadline(std::optional<Clock::TimePoint> deadline, Clock::TimePoint arrival,
                     Clock::TimePoint now) {
  return deadline && now + DeadlineSlack(now - arrival) >= *deadline;
}

absl::Status CancelStatus(std::optional<Clock::TimePoint> deadline, Clock::TimePoint arrival,
                          Clock::TimePoint now) {
  if (EndedByDeadline(deadline, arrival, now)) {
    return absl::DeadlineExceededError("the deadline has passed");
  }
  return absl::CancelledError("the client has cancelled");
}

}  // namespace thinkwire::rpc
