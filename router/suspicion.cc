#include "router/suspicion.h"

#include <algorithm>
#include <set>

#include "common/peer_limits.h"

namespace thinkwire::router {

void Suspicion::Add(const Loss& loss, const fleet::Losses& fleet) {
  const bool in_a_row = !losses_.empty() && loss.tokens - losses_.back().tokens < kPoisonTokens;
  if (!in_a_row) losses_.clear();
  losses_.push_back(loss);
  limit_ = LimitOf(fleet);
}

std::size_t Suspicion::LimitOf(const fleet::Losses& fleet) const {
  if (IsDisaster(fleet)) return kInADisaster;
  return std::ranges::all_of(losses_, &Loss::alone) ? kOfItsOwn : kAmongMany;
}

bool Suspicion::IsDisaster(const fleet::Losses& fleet) const {
  std::set<std::size_t> others;
  for (const fleet::Loss& loss : fleet.lost) {
    const bool counts = loss.at >= losses_.front().at - kBefore && !IsOwn(loss);
    if (counts) others.insert(loss.worker);
  }
  return others.size() >= 2 && 2 * others.size() >= fleet.workers;
}

bool Suspicion::IsOwn(const fleet::Loss& loss) const {
  return std::ranges::any_of(losses_, [&](const Loss& own) {
    const Clock::Duration apart = loss.at > own.at ? loss.at - own.at : own.at - loss.at;
    return own.worker == loss.worker && apart <= kSameLoss;
  });
}

}  // namespace thinkwire::router
