#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "router/decision/worker_view.h"
#include "router/task.h"

namespace thinkwire::router::decision {

// What a policy may know of a request.
struct Query {
  std::string variant{};       // name or alias; empty: the policy chooses
  std::optional<Task> task{};  // as the request says
  std::size_t prompt_bytes = 0;
  // Workers that have the request in vain already, as indices into those that are given: none of
  // them is chosen again.
  std::vector<std::size_t> tried{};
};

// Where a request goes, and why.
struct Decision {
  std::size_t variant = 0;
  std::size_t worker = 0;      // index into the workers that were given
  std::string variant_reason;  // for people: "named by the request"
  std::string worker_reason;   // for people: "the only live one: 0 queued, 2 running"
};

// Decides which variant answers a request, and which of its workers: one decision, so that a rule
// may weigh both.
//
// Pure: equal queries and equal workers give equal decisions, whatever else goes on. It may look at
// its arguments and at what it was made with, and at nothing else: no clock, no random number, no
// network. So it never blocks, and whoever calls it may hold a lock. It should take no longer than
// one look at each worker, O(workers), as every request pays for it.
// Threads: any.
class Policy {
 public:
  virtual ~Policy() = default;

  // Fails: NOT_FOUND no variant has that name. UNAVAILABLE no worker of the variant is live, or
  // none that was not tried, as NoLiveWorker says it.
  virtual absl::StatusOr<Decision> Decide(const Query& query,
                                          std::span<const WorkerView> workers) const = 0;
};

// What a policy answers where no worker of `variant`, called `name`, is live: UNAVAILABLE, with the
// reason of the first one.
absl::Status NoLiveWorker(const std::string& name, std::size_t variant,
                          std::span<const WorkerView> workers);

// The name of the variant that an error of NoLiveWorker is about; empty for every other error.
std::string UnavailableVariant(const absl::Status& status);

}  // namespace thinkwire::router::decision
