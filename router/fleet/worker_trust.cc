#include "router/fleet/worker_trust.h"

#include <algorithm>

namespace thinkwire::router::fleet {

void WorkerTrust::Begin() {
  --waiting_;
  ++begun_;
}

void WorkerTrust::Succeed() {
  if (is_out()) return;
  failures_ = 0;
  ejections_ = 0;
}

bool WorkerTrust::Fail(Failure failure, Clock::TimePoint given, Clock::TimePoint now) {
  constexpr int kMostDoublings = 10;
  if (failures_ > 0 && given <= failed_at_) return false;
  failed_at_ = now;
  const int doublings = std::min(failures_++, kMostDoublings);
  if (failure == Failure::kHung) failures_ = std::max(failures_, kFailuresToEject);
  const Clock::Duration most = kLastDistrust;
  distrusted_until_ = now + std::min<Clock::Duration>(most, kFirstDistrust * (1 << doublings));
  return true;
}

Clock::Duration WorkerTrust::StayOut(Clock::TimePoint now) {
  ejections_ = std::min(ejections_ + 1, kMaxEjections);
  const Clock::Duration time = kEjection * ejections_;
  out_until_ = now + time;
  return time;
}

Clock::Duration WorkerTrust::Eject(Clock::TimePoint now) {
  out_ = Out::kEjected;
  return StayOut(now);
}

void WorkerTrust::Suspect(Clock::TimePoint now) {
  if (!is_out()) out_until_ = now;
  out_ = Out::kSuspect;
}

void WorkerTrust::EndProbe(bool answered, Clock::TimePoint now) {
  if (!answered) {
    StayOut(now);
    return;
  }
  out_ = Out::kNo;
  failures_ = kFailuresToEject - 1;
}

int WorkerTrust::Distrust(Clock::TimePoint now) const {
  const bool has_failed = failures_ > 0 && now < distrusted_until_;
  return (has_failed ? 2 : 0) + (waiting_ >= kMaxProbes + begun_ ? 1 : 0);
}

}  // namespace thinkwire::router::fleet
