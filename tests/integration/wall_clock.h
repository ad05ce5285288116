#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace thinkwire::integration {

// The wall clock of the processes that are started while one of these lives: it can jump, as by a
// step of NTP or of an operator. Their monotonic clock, and this process's clocks, stay as they
// are. Threads: one.
class WallClock {
 public:
  WallClock();
  ~WallClock();  // processes that still run keep their clock
  WallClock(const WallClock&) = delete;
  WallClock& operator=(const WallClock&) = delete;

  void Jump(std::chrono::seconds by);

 private:
  const std::string path_;
  std::atomic<std::int64_t>* ahead_ = nullptr;  // seconds; mapped by all of them
};

}  // namespace thinkwire::integration
