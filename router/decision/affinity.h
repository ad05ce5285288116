#pragma once

#include <cmath>

namespace thinkwire::router::decision {

// When a request goes to the worker that has computed the beginning of its prompt already, rather
// than to the one that would be through first.
//
// Never where that puts the worker above kMostLoad times the mean load of its variant's open
// workers, rounded up: consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, SODA
// 2018), so that no conversation, and no beginning that all have, makes a worker the busy one.
inline constexpr double kMostLoad = 1.25;

// Whether a worker of `load` may have one more for that. `loads`: of all open workers of the
// variant together, `workers` >= 1 of them.
inline bool IsWithinBound(double load, double loads, int workers) {
  return load + 1 <= std::ceil(kMostLoad * (loads + 1) / workers);
}

}  // namespace thinkwire::router::decision
