#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

#include "common/clock.h"

namespace thinkwire::router::fleet {

// A worker, an index into the pool's, has ceased to be live, other than by a drain or by what the
// configuration says. That was seen then: some seconds after it fell silent.
struct Loss {
  std::size_t worker = 0;
  Clock::TimePoint at{};
};

// What became of a variant's workers in the last kLossesKept, the latest kMostLosses of all
// variants together.
struct Losses {
  std::size_t workers = 0;   // that are live, or among the lost
  std::vector<Loss> lost{};  // by time; one that was lost twice is there twice
};
inline constexpr Clock::Duration kLossesKept = std::chrono::minutes(1);
inline constexpr std::size_t kMostLosses = 256;

}  // namespace thinkwire::router::fleet
