#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace thinkwire::worker::engine {

// A sequence reasons first and then answers; it never goes back. The think-end token itself
// belongs to kReasoning, the end-of-sequence token to the phase that it ends.
enum class Phase : std::uint8_t { kReasoning = 0, kAnswer = 1 };
inline constexpr int kNumPhases = 2;

// Added to the logit of `id`.
struct LogitBias {
  std::int32_t id = 0;
  float bias = 0;  // [-100, 100]
};
inline constexpr std::size_t kMaxLogitBiases = 1024;  // of a phase

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
  std::vector<LogitBias> logit_bias = {};  // ids ascending, at most kMaxLogitBiases

  bool counts() const {  // what was drawn before
    return repetition_penalty != 1.0F || presence_penalty != 0.0F || frequency_penalty != 0.0F;
  }
};

// Everything that draws one output's tokens. Together with the token ids before a position it
// fixes the token there: noise = Philox(key = seed; counter = output_index, position, token id).
struct SamplingParams {
  std::array<PhaseSampling, kNumPhases> phases;  // by Phase
  std::uint64_t seed = 0;
  std::uint32_t output_index = 0;
  std::int32_t think_end_id = -1;  // -1: the vocabulary has none

  bool counts() const { return phases[0].counts() || phases[1].counts(); }
  bool counts_prompt() const {
    return phases[0].repetition_penalty != 1.0F || phases[1].repetition_penalty != 1.0F;
  }
  std::size_t num_biases() const {
    return phases[0].logit_bias.size() + phases[1].logit_bias.size();
  }
  bool adjusts() const { return counts() || num_biases() > 0; }  // logits
};

// A token that might have been drawn, and the natural logarithm of its probability under the
// model's own distribution (temperature 1, nothing adjusted, nothing cut off).
struct Alternative {
  std::int32_t id = 0;
  float logprob = 0;
  bool operator==(const Alternative&) const = default;
};
inline constexpr std::int32_t kMaxAlternatives = 20;  // to one token

}  // namespace thinkwire::worker::engine
