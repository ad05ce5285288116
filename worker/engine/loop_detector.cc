#include "worker/engine/loop_detector.h"

#include <algorithm>

namespace thinkwire::worker::engine {

LoopDetector::LoopDetector(const LoopLimits& limits) : max_period_(limits.max_period_tokens) {
  for (std::int32_t period = 1; period <= max_period_; ++period) {
    const std::int64_t repeated = std::int64_t{period} * limits.max_repeats;
    const std::int64_t needed = std::max<std::int64_t>(repeated, kMinRepeated) - period;
    needed_.push_back(static_cast<std::int32_t>(std::min<std::int64_t>(needed, INT32_MAX)));
  }
  Restart();
}

void LoopDetector::Restart() {
  const auto periods = static_cast<std::size_t>(max_period_);
  runs_.assign(periods, 0);
  recent_.assign(2 * periods, -1);
  newest_ = periods;
}

bool LoopDetector::Add(std::int32_t id) {
  const std::int32_t* const recent = recent_.data() + newest_;
  const std::int32_t* const needed = needed_.data();
  std::int32_t* const runs = runs_.data();
  std::int32_t found = 0;
  for (std::int32_t i = 0; i < max_period_; ++i) {
    runs[i] = recent[i] == id ? runs[i] + 1 : 0;
    found |= runs[i] >= needed[i] ? 1 : 0;
  }
  if (newest_ == 0) {
    newest_ = static_cast<std::size_t>(max_period_);
    std::copy_n(recent_.begin(), newest_, recent_.begin() + max_period_);
  }
  recent_[--newest_] = id;
  return found != 0;
}

}  // namespace thinkwire::worker::engine
