#include "router/successor_policy.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace thinkwire::router {

SuccessorPolicy::SuccessorPolicy(const decision::Policy& policy, Succession stream)
    : policy_(policy), stream_(std::move(stream)) {}

absl::StatusOr<decision::Decision> SuccessorPolicy::Decide(const decision::Query& query,
                                                           const decision::View& view) const {
  enum class Fit : std::uint8_t { kNot, kOther, kEqual, kSame };
  std::vector<Fit> fits(view.workers.size(), Fit::kNot);
  for (std::size_t i = 0; i < view.workers.size(); ++i) {
    const decision::WorkerView& worker = view.workers[i];
    if (worker.variant != stream_.variant || !worker.live()) continue;
    if (worker.status->max_model_len < stream_.context_tokens) continue;
    fits[i] = worker.status->fingerprint == stream_.fingerprint ? Fit::kEqual : Fit::kOther;
    if (stream_.worker == i) fits[i] = Fit::kSame;
  }
  for (const std::size_t tried : query.tried) fits[tried] = Fit::kNot;
  const Fit best = fits.empty() ? Fit::kNot : std::ranges::max(fits);
  decision::Query narrowed = query;
  for (std::size_t i = 0; i < fits.size(); ++i) {
    if (fits[i] == Fit::kNot || fits[i] != best) narrowed.tried.push_back(i);
  }
  return policy_.Decide(narrowed, view);
}

}  // namespace thinkwire::router
