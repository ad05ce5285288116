#pragma once

#include <string>
#include <vector>

#include "router/config.h"
#include "router/policy.h"

namespace thinkwire::router {

// The first simple rule, in the configuration's order:
//   1. The variant that the request names: its name, else an alias.
//   2. Else the first variant that lists the request's task.
//   3. Else the first variant that takes prompts of this length, so that an operator puts the small
//      variant with a max_prompt_bytes before the large one; if none does, the last.
class FirstFitPolicy final : public Policy {
 public:
  // REQUIRES a config that ParseConfig has passed.
  explicit FirstFitPolicy(const RouterConfig& config);

  absl::StatusOr<Route> Choose(const RouteQuery& query) const override;

 private:
  absl::StatusOr<Route> Named(const std::string& name) const;
  Route ByLength(std::size_t prompt_bytes) const;

  const std::vector<VariantConfig> variants_;
};

}  // namespace thinkwire::router
