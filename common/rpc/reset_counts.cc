#include "common/rpc/reset_counts.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace thinkwire::rpc {

void ResetCounts::Counts::DecayTo(Clock::TimePoint now) {
  const double rest = std::exp2(-ToSeconds(now - at) / ToSeconds(kHalfLife));
  resets *= rest;
  streams *= rest;
  at = now;
}

ResetCounts::Counts& ResetCounts::Find(const std::string& peer, Clock::TimePoint now) {
  Counts& counts = counts_.try_emplace(peer, Counts{.at = now}).first->second;
  counts.DecayTo(now);
  return counts;
}

void ResetCounts::CountStream(const std::string& peer, Clock::TimePoint now) {
  ++Find(peer, now).streams;
}

bool ResetCounts::CountReset(const std::string& peer, Clock::TimePoint now) {
  Counts& counts = Find(peer, now);
  const double may = kTolerated + counts.streams;
  counts.resets = std::min(counts.resets + 1, 2 * may);
  return counts.resets > may;
}

void ResetCounts::Forget(Clock::TimePoint now) {
  for (auto it = counts_.begin(); it != counts_.end();) {
    it->second.DecayTo(now);
    const bool counts = it->second.resets >= 0.5 || it->second.streams >= 0.5;
    it = counts ? std::next(it) : counts_.erase(it);
  }
}

}  // namespace thinkwire::rpc
