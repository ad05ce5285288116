#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "router/admission/fair_queue.h"
#include "router/admission/tenant_books.h"

namespace thinkwire::router {

// What a client is told whose request the router does not take. All say when to come again, but for
// the last, which would be refused then too.

// UNAVAILABLE, DRAINING.
absl::Status Draining();
// RESOURCE_EXHAUSTED, TENANT_CONCURRENCY or TENANT_TOKENS.
absl::Status OverLimit(const std::string& tenant, const admission::Refusal& refusal);
// RESOURCE_EXHAUSTED, QUEUE_FULL: the router's.
absl::Status QueueFull(const std::string& variant);
// RESOURCE_EXHAUSTED, DEADLINE_TOO_NEAR: the wait and what half of such requests take then are
// `excess_s` more than is left; it may come again after `retry_after`.
absl::Status DeadlineTooNear(const std::string& variant, double excess_s,
                             Clock::Duration retry_after);
// PERMISSION_DENIED, PRIORITY_NOT_ALLOWED.
absl::Status PriorityNotAllowed(const std::string& tenant, admission::Priority highest);

}  // namespace thinkwire::router
