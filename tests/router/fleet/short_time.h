#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "router/fleet/worker_pool.h"
#include "tests/fakes/fake_clock.h"

namespace thinkwire::router::fleet {

// Lets a clock go on by itself for less than kSilence in all: for long enough that a connection
// which has failed on a busy machine is tried again, and not for so long that a fake worker, which
// says its status once, is taken for silent.
class ShortTime {
 public:
  explicit ShortTime(FakeClock& clock) : thread_([this, &clock] { Run(clock); }) {}
  ~ShortTime() {
    is_over_ = true;
    thread_.join();
  }

 private:
  static constexpr int kSteps = WorkerPool::kSilence / WorkerPool::kFirstRetry - 5;

  void Run(FakeClock& clock) {
    for (int i = 0; i < kSteps && !is_over_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      clock.Advance(WorkerPool::kFirstRetry);
    }
  }

  std::atomic<bool> is_over_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace thinkwire::router::fleet
