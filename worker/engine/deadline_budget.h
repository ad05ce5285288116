#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>

#include "common/clock.h"
#include "worker/engine/request.h"

namespace thinkwire::worker::engine {

class Sequence;

// How fast an output grows at the present load: a token a step that draws. Steps count by the time
// they took and less with their age, so that a long prompt among them weighs as much as it delays.
// Threads: one. Pure: reads no clock.
class DecodePace {
 public:
  static constexpr Clock::Duration kMemory = std::chrono::seconds(4);  // until a step counts 1/e

  // A step that drew came back, `took` after the one before it.
  void Record(Clock::Duration took);

  // How many tokens an output has time for within `left`; nullopt: nothing is known yet.
  std::optional<std::int32_t> TokensIn(Clock::Duration left) const;

 private:
  double steps_ = 0;
  double seconds_ = 0;
};

// Says when reasoning has to end so that there is time for the answer (Thinking::ends_in_time).
// Each time that it is asked it estimates anew how long a sequence's reasoning may become; of all
// estimates the least holds, so that a lull does not lengthen what was promised to be short.
// Threads: one. Pure: reads no clock.
class DeadlineBudgets {
 public:
  // Of the time that is left, what is not counted on: prompts may come, and the reader wants time.
  static constexpr double kSpare = 0.1;

  DecodePace& pace() { return pace_; }

  // Whether the reasoning of `sequence`, which asks for it and has a deadline, has come to its
  // limit.
  bool IsSpent(const Sequence& sequence, Clock::TimePoint now);
  void Forget(RequestHandle handle) { estimates_.erase(handle); }

 private:
  struct Estimate {
    std::int32_t answer = 0;     // tokens kept for it
    std::int32_t reasoning = 0;  // the most
  };

  DecodePace pace_;
  std::unordered_map<RequestHandle, Estimate> estimates_;  // of sequences that have one
};

}  // namespace thinkwire::worker::engine
