#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"

namespace thinkwire::worker::engine {

// A few threads that find the masks of answers' formats, so that the engine's, which all sequences
// wait for, need not: most masks take some microseconds, but some a hundred times as long.
// Owns: its threads. The destructor drops what was not begun, and joins them.
// Threads: all may be called from any thread.
class MaskPool {
 public:
  // At most `max_waiting` jobs wait. `on_done` is called after each job, by the thread that did it.
  // REQUIRES: num_threads >= 1.
  MaskPool(int num_threads, std::size_t max_waiting, std::function<void()> on_done);
  ~MaskPool();
  MaskPool(const MaskPool&) = delete;
  MaskPool& operator=(const MaskPool&) = delete;

  // False: too many wait already.
  bool TryPost(std::function<void()> job);

  // Returns when there is no job, or after `patience`.
  void WaitUntilIdle(std::chrono::microseconds patience);

 private:
  void Work();

  const std::size_t max_waiting_;
  const std::function<void()> on_done_;

  Mutex mu_;
  CondVar posted_;
  CondVar idle_;
  std::deque<std::function<void()>> waiting_ ABSL_GUARDED_BY(mu_);
  std::size_t undone_ ABSL_GUARDED_BY(mu_) = 0;  // those that wait, and those that run
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace thinkwire::worker::engine
