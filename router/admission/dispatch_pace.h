#pragma once

#include <optional>

#include "common/clock.h"

namespace thinkwire::router::admission {

// How often a place gets free for those who wait, as it was seen: the mean time between two
// requests that went while others still waited, the latest for a tenth. It counts what workers
// really do, whatever was expected of them. Threads: one at a time.
class DispatchPace {
 public:
  // A request has gone; `others_wait`: more are there, so that the next goes when it can.
  void Count(Clock::TimePoint now, bool others_wait);
  // Nobody waits any more.
  void Rest() { last_.reset(); }

  // Seconds between two; nothing if too few were seen. Where the next is overdue, the time since
  // the last.
  std::optional<double> seconds(Clock::TimePoint now) const;

 private:
  std::optional<Clock::TimePoint> last_;  // while others wait
  double mean_s_ = 0;
  int num_seen_ = 0;
};

}  // namespace thinkwire::router::admission
