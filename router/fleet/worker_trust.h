#pragma once

#include <cstdint>

#include "common/clock.h"
#include "common/peer_limits.h"

namespace thinkwire::router::fleet {

// What a worker's deeds tell of it, whatever its status says: how many requests of this router it
// has begun with, how many still wait there, and whether it has failed lately. Places that it fills
// are believed, and kMaxProbes more: one that promises thousands and begins with nothing draws few
// requests from others. Who failed is distrusted for kFirstDistrust, twice as long after each
// further time without a success in between, kLastDistrust at most.
// Threads: one at a time.
class WorkerTrust {
 public:
  // Requests: it has one more, has begun with one, has one less.
  void Give() { ++waiting_; }
  void Begin();
  void TakeBack(bool begun) { --(begun ? begun_ : waiting_); }

  // A request has come to its end.
  void Succeed() { failures_ = 0; }
  // It was silent, or broke the contract. False: it was distrusted already, and for no longer now.
  bool Fail(Clock::TimePoint now);

  // 0: it is trusted; the more, the less.
  static constexpr int kMostDistrust = 3;
  int Distrust(Clock::TimePoint now) const;

 private:
  std::int64_t waiting_ = 0;
  std::int64_t begun_ = 0;
  int failures_ = 0;  // in a row
  Clock::TimePoint until_;
};

}  // namespace thinkwire::router::fleet
