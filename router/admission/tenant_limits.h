#pragma once

#include <cstdint>

#include "router/admission/fair_queue.h"

namespace thinkwire::router::admission {

// What one tenant may have, over all routers. 0: no limit.
struct TenantLimits {
  std::int64_t max_concurrency = 0;    // requests in hand, those that wait among them
  std::int64_t tokens_per_minute = 0;  // of prompts and outputs
  std::int64_t weight = 1;             // its part under contention, [1, kMaxTenantWeight]
  Priority max_priority = Priority::kHigh;
};

// The part of one of so many equal routers, rounded up, as they do not speak with each other: a
// tenant whose requests all come to one has that part alone. REQUIRES: num_routers >= 1.
inline TenantLimits PartOf(TenantLimits limits, std::int64_t num_routers) {
  const auto part = [&](std::int64_t limit) { return (limit + num_routers - 1) / num_routers; };
  limits.max_concurrency = part(limits.max_concurrency);
  limits.tokens_per_minute = part(limits.tokens_per_minute);
  return limits;
}

}  // namespace thinkwire::router::admission
