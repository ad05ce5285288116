#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/check.h"
#include "common/mutex.h"
#include "worker/parallel/step_channel.h"

namespace thinkwire::worker::parallel {

// Steps to ranks that are threads of this process: one bounded queue a rank.
// Threads: Send and Close on one thread, Receive(r) on rank r's.
template <class Step>
class LocalStepChannel final : public StepChannel<Step> {
 public:
  // REQUIRES: ranks >= 1, capacity >= 1: steps that a rank may lag behind.
  LocalStepChannel(int ranks, int capacity)
      : capacity_(static_cast<std::size_t>(capacity)), queues_(static_cast<std::size_t>(ranks)) {
    CHECK(ranks >= 1 && capacity >= 1, "a channel has a rank and room for a step");
  }

  void Send(std::shared_ptr<const Step> step) override {
    const MutexLock lock(mu_);
    CHECK(!closed_, "no Send after Close");
    while (!HasRoom()) changed_.Wait(mu_);
    for (auto& queue : queues_) queue.push_back(step);
    changed_.NotifyAll();
  }

  std::shared_ptr<const Step> Receive(int rank) override {
    const MutexLock lock(mu_);
    auto& queue = queues_.at(static_cast<std::size_t>(rank));
    while (queue.empty() && !closed_) changed_.Wait(mu_);
    if (queue.empty()) return nullptr;
    std::shared_ptr<const Step> step = std::move(queue.front());
    queue.pop_front();
    changed_.NotifyAll();
    return step;
  }

  void Close() override {
    const MutexLock lock(mu_);
    closed_ = true;
    changed_.NotifyAll();
  }

 private:
  bool HasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    for (const auto& queue : queues_) {
      if (queue.size() >= capacity_) return false;
    }
    return true;
  }

  const std::size_t capacity_;
  Mutex mu_;
  CondVar changed_;
  std::vector<std::deque<std::shared_ptr<const Step>>> queues_ ABSL_GUARDED_BY(mu_);
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace thinkwire::worker::parallel
