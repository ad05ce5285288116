#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/mutex.h"
#include "worker/step/runner.h"

namespace thinkwire::bench {

// One step as seen between the engine and its runner.
struct StepStamp {
  std::int32_t num_rows = 0;
  bool decode_only = false;  // every row one token
  // Since the step before was collected; none where the runner had nothing left to do then.
  std::optional<double> step_seconds = std::nullopt;
  // The engine's turn before this step: from collecting an earlier one until this was submitted.
  // The device computes the step in between meanwhile, and waits only for what is longer than that.
  std::optional<double> turn_seconds = std::nullopt;
};

// Passes everything on to a runner and stamps it.
// Threads: as Runner says; TakeSteps from any.
class RunnerProbe final : public worker::step::Runner {
 public:
  explicit RunnerProbe(worker::step::Runner& runner) : runner_(runner) {}

  const worker::step::Limits& limits() const override { return runner_.limits(); }
  void Submit(worker::step::Plan plan) override;
  worker::step::Result Collect() override;
  std::vector<worker::step::RankBeat> beats() const override { return runner_.beats(); }

  // The steps collected since the last call, in order.
  std::vector<StepStamp> TakeSteps();

 private:
  worker::step::Runner& runner_;

  // Engine thread only.
  std::deque<StepStamp> in_flight_;
  std::optional<Clock::TimePoint> last_collect_;

  Mutex mu_;
  std::vector<StepStamp> steps_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::bench
