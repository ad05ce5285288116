#pragma once

#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

// Calls every communicator's Check ten times a second, so that an error on one rank ends the
// process also while every rank's thread is stuck: a rank that waits for a lost peer, on the host
// or on its device, hears of nothing.
// Owns: one thread a rank, as a driver's call may wait where a rank's queue is full, and no other
// rank's error shall wait for that. The only rank of a group has none: its own next call fails. The
// only one of this process may wait for others.
class GroupWatch {
 public:
  // The communicators must outlive the watch.
  explicit GroupWatch(std::span<const std::unique_ptr<Communicator>> communicators);
  ~GroupWatch();  // waits for the checks that run
  GroupWatch(const GroupWatch&) = delete;
  GroupWatch& operator=(const GroupWatch&) = delete;

 private:
  void Run(Communicator& communicator);
  bool WaitForNextCheck();  // false: no more

  Mutex mu_;
  CondVar stopped_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace thinkwire::worker::parallel
