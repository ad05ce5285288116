#include "router/fleet/worker_trust.h"

#include <algorithm>

#include "common/peer_limits.h"

namespace thinkwire::router::fleet {

void WorkerTrust::Succeed() { failures_ = 0; }

void WorkerTrust::Fail(Clock::TimePoint now) {
  constexpr int kMostDoublings = 10;
  const int doublings = std::min(failures_++, kMostDoublings);
  const Clock::Duration most = kLastDistrust;
  until_ = now + std::min<Clock::Duration>(most, kFirstDistrust * (1 << doublings));
}

}  // namespace thinkwire::router::fleet
