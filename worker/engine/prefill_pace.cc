#include "worker/engine/prefill_pace.h"

#include <chrono>

namespace thinkwire::worker::engine {

void PrefillPace::Record(std::int32_t tokens, Clock::Duration took, Clock::TimePoint now) {
  if (took <= Clock::Duration::zero()) return;  // a clock too coarse for the step
  const double pace = tokens / ToSeconds(took);
  if (pace < best_ && now - best_at_ <= kMemory) return;
  best_ = pace;
  best_at_ = now;
}

std::optional<Clock::Duration> PrefillPace::AtLeast(std::int32_t tokens,
                                                    Clock::TimePoint now) const {
  if (best_ == 0 || now - best_at_ > kMemory) return std::nullopt;
  const std::chrono::duration<double> seconds(tokens / (best_ * max_in_flight_));
  return std::chrono::duration_cast<Clock::Duration>(seconds);
}

}  // namespace thinkwire::worker::engine
