#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/bench/serve_options.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::bench {

// One request, and what shall become of it.
struct PlannedRequest {
  v1::GenerateRequest request;
  bool bad = false;                                 // must be refused with INVALID_ARGUMENT
  std::optional<std::int32_t> cancel_after_tokens;  // unset: runs to its end
};

// The requests of a load. Request `index` is the same for equal options, whenever it is asked for.
// Threads: any.
class Workload {
 public:
  // `variant` is what each request asks for; empty: the router's choice, which prompts of token ids
  // do not have. Borrows the options.
  Workload(const ServeOptions& options, std::string variant);

  PlannedRequest Plan(std::int64_t index) const;

 private:
  const ServeOptions& options_;
  const std::string variant_;
};

}  // namespace thinkwire::bench
