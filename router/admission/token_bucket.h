#pragma once

#include <cstdint>

#include "common/clock.h"

namespace thinkwire::router::admission {

// A limit of tokens a minute, as a bucket (Turner, "New Directions in Communications", IEEE
// Communications 24(10), 1986): it holds a minute's tokens at most, and is filled evenly. What a
// request will take is not known before it has ended, so that an estimate is reserved and the rest
// settled then: the level may fall below zero, and what is owed is paid before anybody is admitted.
// Threads: one at a time.
class TokenBucket {
 public:
  explicit TokenBucket(Clock::TimePoint now) : filled_at_(now) {}

  // Takes `tokens`, but no more than a whole bucket, for a request that needs more could never be
  // admitted. Zero: they were there; else how long it takes, if nobody else takes any, until they
  // are. REQUIRES: per_minute > 0.
  Clock::Duration Reserve(double tokens, std::int64_t per_minute, Clock::TimePoint now);

  // A request that had reserved the one has taken the other.
  void Settle(double reserved, double taken) { spent_ += taken - reserved; }

 private:
  void Fill(std::int64_t per_minute, Clock::TimePoint now);

  double spent_ = 0;  // of a full bucket: may exceed it
  Clock::TimePoint filled_at_;
};

}  // namespace thinkwire::router::admission
