// The roster's part in judging who has lost his worker: who else was lost.

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

#include "router/fleet/roster.h"

namespace thinkwire::router::fleet {

void Roster::NoteLosses(Clock::TimePoint now) {
  std::erase_if(losses_, [=](const Loss& loss) { return now - loss.at > kLossesKept; });
  for (std::size_t i = 0; i < views_.size(); ++i) {
    const decision::WorkerView& view = views_[i];
    const bool served = std::exchange(members_[i].served, view.live());
    const bool has_left = members_[i].removed || (view.status && view.status->draining);
    if (!served || view.live() || has_left) continue;
    if (losses_.size() == kMostLosses) losses_.erase(losses_.begin());
    losses_.push_back({.worker = i, .at = now});
  }
}

Losses Roster::LossesOf(std::size_t variant) const {
  Losses losses;
  std::set<std::size_t> workers;
  for (const Loss& loss : losses_) {
    if (views_[loss.worker].variant != variant) continue;
    losses.lost.push_back(loss);
    workers.insert(loss.worker);
  }
  for (std::size_t i = 0; i < views_.size(); ++i) {
    if (views_[i].variant == variant && views_[i].live()) workers.insert(i);
  }
  losses.workers = workers.size();
  return losses;
}

}  // namespace thinkwire::router::fleet
