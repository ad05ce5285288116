#pragma once

#include <cstdint>

#include "common/clock.h"

namespace thinkwire::router::fleet {

// What a worker's deeds tell of it, whatever its status says: how many requests it has not said a
// word about yet, and whether it has failed lately. Who failed is distrusted for kFirstDistrust,
// twice as long after each further failure without a success in between, kLastDistrust at most.
// Threads: one at a time.
class WorkerTrust {
 public:
  void Give() { ++unanswered_; }
  // One of the requests has its first word, or is over without any.
  void TakeBack() { --unanswered_; }
  std::int64_t unanswered() const { return unanswered_; }

  // A request has come to its end.
  void Succeed();
  // A worker was silent, or broke the contract.
  void Fail(Clock::TimePoint now);
  bool IsDistrusted(Clock::TimePoint now) const { return failures_ > 0 && now < until_; }

 private:
  std::int64_t unanswered_ = 0;
  int failures_ = 0;  // in a row
  Clock::TimePoint until_;
};

}  // namespace thinkwire::router::fleet
