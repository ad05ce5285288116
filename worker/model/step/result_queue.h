#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "worker/kernels/backend.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// What steps drew, on its way from the rank that gives its device the steps to the engine. A step
// in flight has a slot of pinned memory, and a fence behind all of the step's work.
// Owns: slots and fences. Threads: built and pushed to on the rank's, popped on the engine's.
class ResultQueue {
 public:
  // `backend` must outlive the queue.
  ResultQueue(const step::Limits& limits, kernels::Backend& backend);

  // Asks the device for `drawn` (Sampler::drawn, L = 0 if the step draws nothing) once the work
  // that it was given so far is done. Waits for nothing.
  // REQUIRES: steps ascend by 1 from 1, and `step` - max_in_flight was popped.
  void Push(std::uint64_t step, const kernels::Tensor& drawn);

  // Waits until `plan` was pushed and the device has done all of it.
  // REQUIRES: plans in order, each once.
  step::Result Pop(const step::Plan& plan);

 private:
  struct Slot {
    kernels::Buffer drawn;  // as Sampler::drawn
    kernels::Tensor shape;  // of what was pushed; its data are the device's
    std::unique_ptr<kernels::Fence> done;
  };

  Slot& SlotOf(std::uint64_t step) { return slots_[step % slots_.size()]; }
  void AwaitPush(std::uint64_t step) ABSL_LOCKS_EXCLUDED(mu_);

  // Adds what `row`, the next that draws, gave. REQUIRES: the slot's work is done.
  static void AddRow(const Slot& slot, const step::Row& row, step::Result& result);

  kernels::Backend& backend_;

  // A slot is the rank's until its step is pushed, then the engine's until it is popped.
  std::vector<Slot> slots_;

  Mutex mu_;
  CondVar pushed_;
  std::uint64_t last_pushed_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace thinkwire::worker::model
