#include "common/rpc/reset_counts.h"

#include <cmath>
#include <iterator>

namespace thinkwire::rpc {

void ResetCounts::Counts::DecayTo(Clock::TimePoint now) {
  const double rest = std::exp2(-ToSeconds(now - at) / ToSeconds(kHalfLife));
  resets *= rest;
  others *= rest;
  at = now;
}

bool ResetCounts::Count(const std::string& connection, bool reset, Clock::TimePoint now) {
  const auto found = counts_.try_emplace(connection, Counts{.at = now}).first;
  Counts& counts = found->second;
  counts.DecayTo(now);
  (reset ? counts.resets : counts.others) += 1;
  if (counts.resets <= kTolerated || counts.resets <= counts.others) return false;
  counts_.erase(found);
  return true;
}

void ResetCounts::Forget(Clock::TimePoint now) {
  for (auto it = counts_.begin(); it != counts_.end();) {
    it->second.DecayTo(now);
    it = it->second.resets < 0.5 ? counts_.erase(it) : std::next(it);
  }
}

}  // namespace thinkwire::rpc
