#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "router/decision/policy.h"
#include "router/variant_config.h"

namespace thinkwire::router::decision {

// The first simple rule. Of the variants, in the configuration's order:
//   1. The variant that the request names: its name, else an alias.
//   2. Else the first variant that lists the request's task.
//   3. Else the first variant that takes prompts of this length, so that an operator puts the small
//      variant with a max_prompt_bytes before the large one; if none does, the last.
// Of its workers the one that ChooseLeastLoaded gives; no other variant stands in for one whose
// workers are all gone. Costs O(variants + workers).
class FirstFitPolicy final : public Policy {
 public:
  // REQUIRES: variants of a configuration that ParseConfig has passed.
  explicit FirstFitPolicy(std::vector<VariantConfig> variants);

  absl::StatusOr<Decision> Decide(const Query& query,
                                  std::span<const WorkerView> workers) const override;

 private:
  struct VariantChoice {
    std::size_t variant = 0;
    std::string reason;
  };
  absl::StatusOr<VariantChoice> ChooseVariant(const Query& query) const;
  absl::StatusOr<VariantChoice> Named(const std::string& name) const;
  VariantChoice ByLength(std::size_t prompt_bytes) const;

  const std::vector<VariantConfig> variants_;
};

}  // namespace thinkwire::router::decision
