#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "common/mutex.h"
#include "worker/kernels/backend.h"

namespace thinkwire::worker::model {

// How long a device waits between the computations of two steps, in its own time: for the host, and
// for the copies of what steps take from it and give to it. For measuring.
// Owns: the stamps. Threads: Start and End on the rank's, Collected on the engine's, Take on any.
class StepStamps {
 public:
  // `backend` must outlive the stamps. At most `max_in_flight` steps were given and not collected.
  StepStamps(std::int32_t max_in_flight, kernels::Backend& backend);

  // Around what step `step`, ascending by 1 from 1, computes.
  void Start(std::uint64_t step) { SlotOf(step).start->Record(); }
  void End(std::uint64_t step) { SlotOf(step).end->Record(); }

  // The device has done all of `step`. REQUIRES: each step once, in order.
  void Collected(std::uint64_t step);

  // For each step collected since the last call, in order: seconds from the end of the step before
  // to its start, 0 for the first of all. REQUIRES: called now and then, as the list grows.
  std::vector<double> Take();

 private:
  struct Slot {
    std::unique_ptr<kernels::Stamp> start;
    std::unique_ptr<kernels::Stamp> end;
  };

  Slot& SlotOf(std::uint64_t step) { return slots_[step % slots_.size()]; }

  std::vector<Slot> slots_;  // of the steps in flight and the one before them

  Mutex mu_;
  std::vector<double> gaps_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::worker::model
