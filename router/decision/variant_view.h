#pragma once

#include "router/variant_traits.h"

namespace thinkwire::router::decision {

// What experience says of one variant's requests.
struct VariantView {
  double bytes_per_token = 4;            // of prompts, > 0
  PerTask<LengthQuantiles> reasoning{};  // tokens of one output's reasoning
  PerTask<LengthQuantiles> answer{};     // and of its answer
};

}  // namespace thinkwire::router::decision
