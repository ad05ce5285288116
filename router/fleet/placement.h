#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "router/decision/policy.h"
#include "router/decision/variant_view.h"
#include "router/fleet/roster.h"
#include "router/fleet/turns.h"

namespace thinkwire::router::fleet {

// Where a request that may have to wait in the router is to go.
struct Placement {
  decision::Decision decision{};              // as if it needed no place
  std::optional<decision::Decision> place{};  // where it has one, perhaps at another worker
  std::size_t num_live = 0;                   // workers of the variant
};

// Finds that: the worker that the policy decides for, if `turns` lets the request have a place
// there beside as many others as it may have (Decision::most_beside), else another of the variant
// that has one. Nothing is given yet (Roster::Give).
// O(workers), two decisions. Fails: as the policy does; then the last `num_full` of query.tried are
// workers that might have done, but have as many requests of this router as they can take.
absl::StatusOr<Placement> FindPlace(const decision::Policy& policy,
                                    std::span<const decision::VariantView> variants,
                                    const Turns& turns, Clock::TimePoint now, Roster& roster,
                                    decision::Query& query, std::size_t& num_full);

}  // namespace thinkwire::router::fleet
