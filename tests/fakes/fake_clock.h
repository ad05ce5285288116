#pragma once

#include <atomic>

#include "common/clock.h"

namespace thinkwire {

// Time that moves when told. Threads: any.
class FakeClock final : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(Duration(ticks_.load())); }
  void Advance(Duration by) { ticks_ += by.count(); }

 private:
  std::atomic<Duration::rep> ticks_{0};
};

}  // namespace thinkwire
