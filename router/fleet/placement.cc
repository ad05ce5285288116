#include "router/fleet/placement.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "common/status.h"

namespace thinkwire::router::fleet {

absl::StatusOr<Placement> FindPlace(const decision::Policy& policy,
                                    std::span<const decision::VariantView> variants,
                                    const Turns& turns, Clock::TimePoint now, Roster& roster,
                                    decision::Query& query, std::size_t& num_full) {
  const auto decide = [&] {
    return policy.Decide(query, {.workers = roster.views(), .variants = variants});
  };
  roster.ShareOutWaiting(turns);
  if (const std::string only(turns.only_variant()); !only.empty()) roster.KeepVariant(only, query);
  num_full = roster.PassOver(query, now);
  ASSIGN_OR_RETURN(decision::Decision decision, decide());
  const std::size_t variant = decision.variant;
  const std::string& name = roster.VariantOf(decision.worker).name;
  const std::int64_t places = roster.Places(variant);
  const Room room = turns.RoomOf(name, places);
  Placement placement{.decision = decision, .num_live = roster.NumLive(variant)};
  // Of each of its workers about as much, as the decision balances them.
  const double surplus = turns.SurplusAt(name, places) /
                         static_cast<double>(std::max<std::size_t>(placement.num_live, 1));
  if (roster.HasPlace(decision.worker, room, surplus, decision.most_beside)) {
    placement.place = std::move(decision);
    return placement;
  }
  roster.KeepPlaces(variant, room, surplus, decision.most_beside, query);
  if (auto other = decide(); other.ok()) placement.place = *std::move(other);
  return placement;
}

}  // namespace thinkwire::router::fleet
