#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "router/decision/policy.h"

namespace thinkwire::router {

// What the next worker of a stream must have.
struct Succession {
  std::size_t variant = 0;
  std::string fingerprint{};  // better this one: the text goes on as it would have; empty: any
  std::int64_t context_tokens = 0;  // prompt and output, as the client was told; 0: any
  // Best of all this one, where it can have it; an index. nullopt: none is better than others.
  std::optional<std::size_t> worker{};
};

// Has another policy choose who goes on with a stream, or begins anew with it: of the workers of
// its variant with that context the preferred one, else those with its fingerprint, and where none
// of them takes it any of them. Pure, as every policy. Threads: any.
class SuccessorPolicy final : public decision::Policy {
 public:
  // `policy` outlives this.
  SuccessorPolicy(const decision::Policy& policy, Succession stream);

  absl::StatusOr<decision::Decision> Decide(const decision::Query& query,
                                            const decision::View& view) const override;

 private:
  const decision::Policy& policy_;
  const Succession stream_;
};

}  // namespace thinkwire::router
