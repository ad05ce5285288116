#pragma once

#include <cstdint>
#include <optional>

#include "common/clock.h"

namespace thinkwire::worker::engine {

// How fast prompts can be computed at best, so that a deadline which no luck could meet is seen
// before any work is spent on it. It errs towards hope: it knows the best step of the last minute
// alone, and takes it for several times as fast as it may have been.
// Threads: one. Pure: reads no clock.
class PrefillPace {
 public:
  // For so long the best step counts; without a newer one nothing is known.
  static constexpr Clock::Duration kMemory = std::chrono::minutes(1);

  // REQUIRES: max_in_flight >= 1, as in Limits.
  explicit PrefillPace(std::int32_t max_in_flight) : max_in_flight_(max_in_flight) {}

  // A step of `tokens` inputs, mostly of prompts, came back at `now`, `took` after it was planned:
  // up to max_in_flight times what it took by itself, as it may have waited for those before it.
  void Record(std::int32_t tokens, Clock::Duration took, Clock::TimePoint now);

  // What so many inputs take at least; nullopt: unknown.
  std::optional<Clock::Duration> AtLeast(std::int32_t tokens, Clock::TimePoint now) const;

 private:
  const std::int32_t max_in_flight_;
  double best_ = 0;  // tokens a second
  Clock::TimePoint best_at_;
};

}  // namespace thinkwire::worker::engine
