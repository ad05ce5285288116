#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/step/per_phase.h"

namespace thinkwire::worker::step {

inline constexpr std::int32_t kMaxLogitBiases = 1024;  // of a slot's phase
inline constexpr std::int32_t kMaxAlternatives = 20;   // told beside one drawn token

// Logit biases in the changes of one plan, at most: two requests' at their largest.
inline constexpr std::size_t kMaxPlanBiases =
    std::size_t{2} * kNumPhases * static_cast<std::size_t>(kMaxLogitBiases);

// Fixed once the runner exists.
struct Limits {
  std::int32_t max_num_seqs = 0;            // slots
  std::int32_t max_num_batched_tokens = 0;  // input tokens a plan
  std::int32_t max_model_len = 0;           // tokens a sequence
  std::int32_t block_tokens = 0;            // tokens a KV block
  std::int32_t num_blocks = 0;              // KV blocks in all
  std::int32_t max_in_flight = 1;           // D: plans submitted and not yet collected
  std::int32_t vocab_size = 0;              // ids that may be input or drawn: [0, vocab_size)
  // Tokens drawn a plan, [max_num_seqs, max_num_batched_tokens]; 0: max_num_seqs.
  std::int32_t max_draws = 0;

  // Tokens of prompt and output that one sequence can have: max_model_len, if the whole KV cache
  // holds as many. The last token is drawn but never an input, so that it needs no room there.
  constexpr std::int32_t context() const {
    const std::int64_t cache = std::int64_t{num_blocks} * block_tokens + 1;
    return cache < max_model_len ? static_cast<std::int32_t>(cache) : max_model_len;
  }

  constexpr std::int32_t most_draws() const { return max_draws == 0 ? max_num_seqs : max_draws; }
};

}  // namespace thinkwire::worker::step
