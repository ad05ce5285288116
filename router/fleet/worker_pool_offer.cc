// The pool's part in the router's queue: places for requests that may have to wait.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "router/fleet/worker_pool.h"

namespace thinkwire::router::fleet {

absl::StatusOr<Offer> WorkerPool::Ask(const decision::Policy& policy, decision::Query query,
                                      decision::PromptMarks marks, const Turns& turns) {
  MutexLock lock(mu_);
  FillIn(marks, query);
  roster_.ShareOutWaiting(turns);
  if (const std::string only(turns.only_variant()); !only.empty()) {
    roster_.KeepVariant(only, query);
  }
  const std::size_t num_full = roster_.PassOver(query, clock_.Now());
  absl::StatusOr<decision::Decision> decision = Decide(policy, query);
  if (!decision.ok()) return Refusal(policy, std::move(query), num_full, decision.status());
  const std::size_t variant = decision->variant;
  const std::string& name = roster_.VariantOf(decision->worker).name;
  const std::int64_t places = roster_.Places(variant);
  const Room room = turns.RoomOf(name, places);
  Offer offer{.decision = *decision, .num_live = roster_.NumLive(variant)};
  // Of each of its workers about as much, as the decision balances them.
  const double surplus =
      turns.SurplusAt(name, places) / static_cast<double>(std::max<std::size_t>(offer.num_live, 1));
  if (!roster_.HasPlace(decision->worker, room, surplus)) {
    roster_.KeepPlaces(variant, room, surplus, query);
    decision = Decide(policy, query);
  }
  if (decision.ok()) offer.lease.emplace(Give(*std::move(decision), std::move(marks)));
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
