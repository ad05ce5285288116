#include "router/fleet/worker_trust.h"

#include <algorithm>

namespace thinkwire::router::fleet {

void WorkerTrust::Begin() {
  --waiting_;
  ++begun_;
}

bool WorkerTrust::Fail(Clock::TimePoint now) {
  constexpr int kMostDoublings = 10;
  if (now < until_) return false;  // what was given before counts once
  const int doublings = std::min(failures_++, kMostDoublings);
  const Clock::Duration most = kLastDistrust;
  until_ = now + std::min<Clock::Duration>(most, kFirstDistrust * (1 << doublings));
  return true;
}

int WorkerTrust::Distrust(Clock::TimePoint now) const {
  const bool has_failed = failures_ > 0 && now < until_;
  return (has_failed ? 2 : 0) + (waiting_ >= kMaxProbes + begun_ ? 1 : 0);
}

}  // namespace thinkwire::router::fleet
