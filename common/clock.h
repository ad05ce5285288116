#pragma once

#include <chrono>

namespace thinkwire {

// Monotonic time for deadlines, timeouts and metrics: a step of the wall clock changes nothing.
// Threads: any.
class Clock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Duration = std::chrono::steady_clock::duration;

  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;

  // The machine's steady clock; lives as long as the process.
  static const Clock& Real();
};

// Seconds of `duration`, for metrics and messages.
inline double ToSeconds(Clock::Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace thinkwire
