#include "router/fleet/placement.h"

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
  const Room room = turns.RoomOf(roster.VariantOf(decision.worker).name);
  Placement placement{.decision = decision, .num_live = roster.NumLive(variant)};
  if (roster.HasPlace(decision.worker, room)) {
    placement.place = std::move(decision);
    return placement;
  }
  roster.KeepPlaces(variant, room, query);
  if (auto other = decide(); other.ok()) placement.place = *std::move(other);
  return placement;
}

}  // namespace thinkwire::router::fleet
