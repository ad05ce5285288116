#include "router/admission/dispatch_pace.h"

#include <algorithm>

namespace thinkwire::router::admission {
namespace {

constexpr int kMemory = 10;
constexpr int kFewest = 4;

}  // namespace

void DispatchPace::Count(Clock::TimePoint now, bool others_wait) {
  if (last_) {
    num_seen_ = std::min(num_seen_ + 1, kMemory);
    mean_s_ += (ToSeconds(now - *last_) - mean_s_) / num_seen_;
  }
  last_ = others_wait ? std::optional(now) : std::nullopt;
}

std::optional<double> DispatchPace::seconds(Clock::TimePoint now) const {
  if (num_seen_ < kFewest) return std::nullopt;
  return last_ ? std::max(mean_s_, ToSeconds(now - *last_)) : mean_s_;
}

}  // namespace thinkwire::router::admission
