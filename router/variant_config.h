#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "router/task.h"
#include "router/variant_traits.h"

namespace thinkwire::router {

inline constexpr std::array<const char*, 4> kReasoningFields = {"both", "reasoning_content",
                                                                "reasoning", "inline"};

// A model and the workers that serve it. Elsewhere a variant is meant by its index into the
// configuration's list, whose order matters to the policy.
struct VariantConfig {
  std::string name;                    // 1 to 64 of [A-Za-z0-9._-]
  std::vector<std::string> aliases{};  // beside those that KnownAliases gives
  std::vector<std::string> workers{};  // "host:port", at least one
  std::vector<Task> tasks{};           // that the router prefers it for
  std::int64_t max_prompt_bytes = 0;   // the longest prompt that is sent here unasked; 0: any
  std::string require_fingerprint{};   // workers with another are not live; empty: any will do
  // Where a request begins anew that this variant did not answer (Escalation): the name of a better
  // variant; empty: nowhere.
  std::string escalate_to{};
  // Where HTTP clients find its reasoning, of kReasoningFields; empty: where the command line says.
  std::string reasoning_field{};
  VariantTraits traits = KnownTraits("");  // as configured, else those of its name
};

}  // namespace thinkwire::router
