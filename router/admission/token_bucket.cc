#include "router/admission/token_bucket.h"

#include <algorithm>
#include <chrono>

namespace thinkwire::router::admission {
namespace {

constexpr double kSecondsAMinute = 60;

}  // namespace

void TokenBucket::Fill(std::int64_t per_minute, Clock::TimePoint now) {
  const double filled =
      ToSeconds(now - filled_at_) * static_cast<double>(per_minute) / kSecondsAMinute;
  spent_ = std::max(spent_ - filled, 0.0);
  filled_at_ = now;
}

Clock::Duration TokenBucket::Reserve(double tokens, std::int64_t per_minute, Clock::TimePoint now) {
  Fill(per_minute, now);
  const auto capacity = static_cast<double>(per_minute);
  const double missing = std::min(tokens, capacity) - (capacity - spent_);
  if (missing <= 0) {
    spent_ += tokens;
    return Clock::Duration::zero();
  }
  const std::chrono::duration<double> wait(missing * kSecondsAMinute / capacity);
  return std::max(std::chrono::duration_cast<Clock::Duration>(wait), Clock::Duration(1));
}

}  // namespace thinkwire::router::admission
