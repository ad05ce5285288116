#pragma once

#include <cstdint>
#include <vector>

#include "worker/step/limits.h"
#include "worker/step/plan.h"
#include "worker/step/result.h"

// The seam between who runs (the engine) and what is computed (the model).
namespace thinkwire::worker::step {

// The last sign of life of one rank: where it is, as far as its host knows.
struct RankBeat {
  std::uint64_t step = 0;  // given last, 0 before the first
  std::int32_t layer = 0;  // of that step, counted from 1; 0 before its first

  bool operator==(const RankBeat&) const = default;
};

// Computes plans in order. Threads: Submit and Collect on the engine thread alone. Fails: never by
// return; a device that breaks ends the process.
class Runner {
 public:
  virtual ~Runner() = default;

  virtual const Limits& limits() const = 0;

  // Starts `plan`, which holds at least one row. REQUIRES: fewer than max_in_flight plans in
  // flight. Does not wait for the plan's own computation.
  virtual void Submit(Plan plan) = 0;

  // Waits for the oldest plan in flight. REQUIRES: at least one is.
  virtual Result Collect() = 0;

  // In rank order. A rank beats once a layer where its host works layer by layer. Where the device
  // replays a recorded step, or works later than it is told, the host is ahead: there the step's
  // coming back from Collect is the sign. Waits for nothing. Threads: any.
  virtual std::vector<RankBeat> beats() const = 0;
};

}  // namespace thinkwire::worker::step
