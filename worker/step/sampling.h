#pragma once

#include <cstdint>
#include <type_traits>

#include "worker/step/per_phase.h"

// How a slot draws its tokens: plain data, which goes to the device as it is. A new parameter is a
// field here; proto, checks and worker/serve/request_reader.cc fill it, a kernel reads it.
namespace thinkwire::worker::step {

// How the tokens of one phase are drawn. Order of application: logit bias, penalties (repetition,
// frequency, presence: kernels/adjust.h has the formula), temperature, top_k, top_p, min_p. A
// penalty counts ids drawn in this phase, the repetition penalty those of the prompt too.
struct PhaseSampling {
  float temperature = 0.6F;         // >= 0, finite; 0 takes the most likely token (ties: lowest id)
  float top_p = 0.95F;              // (0, 1]; 1 keeps all
  float min_p = 0.0F;               // [0, 1]; keeps p >= min_p * max p; 0 keeps all
  std::int32_t top_k = 0;           // >= 0; 0 keeps all
  float repetition_penalty = 1.0F;  // (0, 2]; 1 changes nothing
  float presence_penalty = 0.0F;    // [-2, 2]
  float frequency_penalty = 0.0F;   // [-2, 2]
  std::int32_t num_biases = 0;      // of the slot's logit biases in this phase, <= kMaxLogitBiases

  constexpr bool counts() const {  // what was drawn before
    return repetition_penalty != 1.0F || presence_penalty != 0.0F || frequency_penalty != 0.0F;
  }
};

// Everything that draws one output's tokens, but for the logit biases themselves. Together with
// those and the token ids before a position it fixes the token there: noise =
// Philox(key = seed; counter = output_index, position, token id).
struct SamplingParams {
  PerPhase<PhaseSampling> phases = {};
  std::uint64_t seed = 0;
  std::uint32_t output_index = 0;
  std::int32_t think_end_id = -1;  // -1: the vocabulary has none

  constexpr bool counts() const {
    return phases[Phase::kReasoning].counts() || phases[Phase::kAnswer].counts();
  }
  constexpr bool counts_prompt() const {
    return phases[Phase::kReasoning].repetition_penalty != 1.0F ||
           phases[Phase::kAnswer].repetition_penalty != 1.0F;
  }
  constexpr std::int32_t num_biases() const {
    return phases[Phase::kReasoning].num_biases + phases[Phase::kAnswer].num_biases;
  }
  constexpr bool adjusts() const { return counts() || num_biases() > 0; }  // logits
};
static_assert(std::is_trivially_copyable_v<SamplingParams>, "it is copied to devices");

// Added to the logit of `id`.
struct LogitBias {
  std::int32_t id = 0;
  float bias = 0;  // [-100, 100]
};

}  // namespace thinkwire::worker::step
