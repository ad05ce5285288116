#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "router/task.h"

namespace thinkwire::router {

// What a policy may look at.
struct RouteQuery {
  std::string variant{};       // name or alias; empty: the policy chooses
  std::optional<Task> task{};  // as the request says
  std::size_t prompt_bytes = 0;
};

struct Route {
  std::size_t variant = 0;  // index into RouterConfig::variants
  std::string reason;       // for people: "named by the request"
};

// Decides which variant answers. Pure: the same query gives the same route, whatever else goes on.
// Threads: any.
class Policy {
 public:
  virtual ~Policy() = default;
  // Fails: NOT_FOUND no variant has that name.
  virtual absl::StatusOr<Route> Choose(const RouteQuery& query) const = 0;
};

}  // namespace thinkwire::router
