#include "worker/engine/deadline_budget.h"

#include <algorithm>
#include <cmath>

#include "common/input_limits.h"
#include "worker/engine/sequence.h"

namespace thinkwire::worker::engine {

void DecodePace::Record(Clock::Duration took) {
  const double seconds = std::max(0.0, ToSeconds(took));
  const double kept = std::exp(-seconds / ToSeconds(kMemory));
  steps_ = steps_ * kept + 1;
  seconds_ = seconds_ * kept + seconds;
}

std::optional<std::int32_t> DecodePace::TokensIn(Clock::Duration left) const {
  if (seconds_ <= 0) return std::nullopt;  // or a clock too coarse for the steps
  const double tokens = std::max(0.0, ToSeconds(left)) * steps_ / seconds_;
  return static_cast<std::int32_t>(std::min<double>(tokens, kMaxModelLen));
}

bool DeadlineBudgets::IsSpent(const Sequence& sequence, Clock::TimePoint now) {
  const Request& request = sequence.request();
  const double left = ToSeconds(*request.deadline - now) * (1 - kSpare);
  const auto tokens = pace_.TokensIn(
      std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(left)));
  if (!tokens) return false;
  const Thinking& thinking = request.thinking;
  const std::int32_t in_all = sequence.generated() + *tokens;
  const auto [found, is_first] = estimates_.try_emplace(sequence.handle());
  Estimate& estimate = found->second;
  if (is_first) {
    estimate = {.answer = thinking.answer_in_time.value_or(DefaultReserve(in_all)),
                .reasoning = kMaxModelLen};
  }
  // The closing ids are computed in one step, and another one draws.
  estimate.reasoning = std::min(estimate.reasoning, in_all - estimate.answer - 2);
  return sequence.generated() >= estimate.reasoning;
}

}  // namespace thinkwire::worker::engine
