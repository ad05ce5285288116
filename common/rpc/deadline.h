#pragma once

#include <chrono>

#include "common/clock.h"

namespace thinkwire::rpc {

// How long before a call's deadline, as the server knows it, the client's own may end the call: the
// server counts from the arrival of the request, and gRPC rounds the timeout that it sends up to
// three digits. `elapsed`: since the arrival.
inline Clock::Duration DeadlineSlack(Clock::Duration elapsed) {
  return std::chrono::milliseconds(100) + elapsed / 100;
}

}  // namespace thinkwire::rpc
