#include "worker/engine/loop_detector.h"

#include <algorithm>
#include <bit>

namespace thinkwire::worker::engine {
namespace {

// The run of `period` that is too long.
std::int32_t Needed(std::int32_t period, const LoopLimits& limits) {
  const std::int64_t repeated = std::int64_t{period} * limits.max_repeats;
  const std::int64_t needed = std::max<std::int64_t>(repeated, LoopDetector::kMinRepeated) - period;
  return static_cast<std::int32_t>(std::min<std::int64_t>(needed, INT32_MAX));
}

}  // namespace

LoopDetector::LoopDetector(const LoopLimits& limits)
    : max_period_(limits.max_period_tokens),
      mask_(std::bit_ceil(static_cast<std::size_t>(max_period_) + 1) - 1) {
  for (std::int32_t period = 1; period <= max_period_; ++period) {
    needed_.push_back(Needed(period, limits));
  }
  if (limits.near_share) near_.emplace(*limits.near_share);
  Restart();
}

void LoopDetector::Restart() {
  runs_.assign(static_cast<std::size_t>(max_period_), {});
  places_.assign(mask_ + 1, {});
  last_.assign(mask_ + 1, -1);
  count_ = 0;
  if (near_) near_->Restart();
}

bool LoopDetector::Add(std::int32_t id) {
  const bool repeats = Repeats(id);
  const bool nearly = near_ && near_->Add(id);
  return repeats || nearly;
}

bool LoopDetector::Repeats(std::int32_t id) {
  const std::int32_t place = count_++;
  std::int32_t& last = LastOf(id);
  bool found = false;
  for (std::int32_t at = last; at >= 0 && place - at <= max_period_; at = At(at).before) {
    if (At(at).id == id) found |= Extend(place - at, place);
  }
  At(place) = {.id = id, .before = last};
  last = place;
  return found;
}

bool LoopDetector::Extend(std::int32_t period, std::int32_t place) {
  const auto index = static_cast<std::size_t>(period) - 1;
  Run& run = runs_[index];
  const bool goes_on = run.length > 0 && run.last == place - 1;
  run = {.length = goes_on ? run.length + 1 : 1, .last = place};
  return run.length >= needed_[index];
}

std::int32_t& LoopDetector::LastOf(std::int32_t id) {
  // Fibonacci hashing (Knuth, volume 3, 6.4): ids that are used together often lie in order.
  const std::uint32_t hash = static_cast<std::uint32_t>(id) * 2654435769U;
  return last_[(hash >> 16) & mask_];
}

}  // namespace thinkwire::worker::engine
