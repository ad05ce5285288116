#include "worker/model/step/step_stamps.h"

#include <utility>

namespace thinkwire::worker::model {

StepStamps::StepStamps(std::int32_t max_in_flight, kernels::Backend& backend) {
  for (std::int32_t i = 0; i < max_in_flight + 1; ++i) {
    slots_.push_back({backend.MakeStamp(), backend.MakeStamp()});
  }
}

void StepStamps::Collected(std::uint64_t step) {
  const double gap = step == 1 ? 0 : SlotOf(step).start->SecondsSince(*SlotOf(step - 1).end);
  MutexLock lock(mu_);
  gaps_.push_back(gap);
}

std::vector<double> StepStamps::Take() {
  MutexLock lock(mu_);
  return std::exchange(gaps_, {});
}

}  // namespace thinkwire::worker::model
