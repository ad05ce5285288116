// The pool's part in the router's queue: places for requests that may have to wait.

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include "router/fleet/placement.h"
#include "router/fleet/worker_pool.h"

namespace thinkwire::router::fleet {

absl::StatusOr<Offer> WorkerPool::Ask(const decision::Policy& policy, decision::Query query,
                                      decision::PromptMarks marks, const Turns& turns) {
  MutexLock lock(mu_);
  FillIn(marks, query);
  std::size_t num_full = 0;
  absl::StatusOr<Placement> placement =
      FindPlace(policy, experience_.views(), turns, clock_.Now(), roster_, query, num_full);
  if (!placement.ok()) return Refusal(policy, std::move(query), num_full, placement.status());
  Offer offer{.decision = std::move(placement->decision), .num_live = placement->num_live};
  if (placement->place) {
    offer.lease.emplace(Give(*std::move(placement->place), std::move(marks), query.outputs));
  }
  return offer;
}

void WorkerPool::SetOnRoom(std::function<void(const std::string& variant)> on_room) {
  MutexLock lock(mu_);
  on_room_ = std::move(on_room);
}

void WorkerPool::TellRoom(std::size_t index) {
  if (on_room_) on_room_(roster_.VariantOf(index).name);
}

}  // namespace thinkwire::router::fleet
