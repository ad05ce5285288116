#pragma once

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "common/clock.h"

namespace grpc {
class CallbackServerContext;
class ClientContext;
}  // namespace grpc

namespace thinkwire::rpc {

// When the call ends by its client's wish; nullopt: never. A time of `clock`, so that later steps
// of the wall clock, which gRPC's interface tells deadlines in, change nothing.
std::optional<Clock::TimePoint> DeadlineOf(const grpc::CallbackServerContext& context,
                                           const Clock& clock);

// Gives a call that is about to start `deadline`, a time of `clock`.
void SetDeadline(Clock::TimePoint deadline, const Clock& clock, grpc::ClientContext& context);

// How long before a call's deadline, as the server knows it, the client's own may end the call: the
// server counts from the arrival of the request, and gRPC rounds the timeout that it sends up to
// three digits. `elapsed`: since the arrival.
inline Clock::Duration DeadlineSlack(Clock::Duration elapsed) {
  return std::chrono::milliseconds(100) + elapsed / 100;
}

// Whether a call that arrived at `arrival` and was cancelled by `now` was ended by its deadline:
// gRPC cancels such a call itself, and whichever was told first, it was the deadline.
bool EndedByDeadline(std::optional<Clock::TimePoint> deadline, Clock::TimePoint arrival,
                     Clock::TimePoint now);

// What the client of such a call is told: DEADLINE_EXCEEDED by its deadline, else CANCELLED.
absl::Status CancelStatus(std::optional<Clock::TimePoint> deadline, Clock::TimePoint arrival,
                          Clock::TimePoint now);

}  // namespace thinkwire::rpc
