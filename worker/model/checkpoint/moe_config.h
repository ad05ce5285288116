#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace thinkwire::worker::model {

// The mixture of experts of a deepseek_v3 checkpoint: config.json's fields under their own names.
// One group of which all is kept means that experts are chosen among all.
struct MoeConfig {
  std::int64_t n_routed_experts = 0;       // 1..4096
  std::int64_t num_experts_per_tok = 0;    // 1..64, at most what topk_group groups hold
  std::int64_t n_group = 1;                // divides n_routed_experts; of at least 2 if not 1
  std::int64_t topk_group = 1;             // 1..n_group
  double routed_scaling_factor = 1.0;      // above 0
  bool norm_topk_prob = true;              // the chosen ones' weights add up to the factor
  std::int64_t n_shared_experts = 0;       // 0..64; they are one of that many times the width
  std::int64_t moe_intermediate_size = 0;  // columns of one expert, at least 1
  std::int64_t first_k_dense_replace = 0;  // that many first layers have a dense feed-forward
  std::string scoring_func = "sigmoid";    // the one supported
  std::string topk_method = "noaux_tc";    // the one supported: groups, and a correction bias
};

// Whether every field is in its range and the fields fit each other and `num_layers`.
// Fails: INVALID_ARGUMENT with `file`, the field, its value and what is supported.
absl::Status CheckMoeConfig(const MoeConfig& config, std::int64_t num_layers,
                            absl::string_view file);

}  // namespace thinkwire::worker::model
