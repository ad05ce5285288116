#pragma once

#include <array>
#include <cstdint>

namespace thinkwire::worker::engine {

// A sequence reasons first and then answers; it never goes back. The think-end token itself
// belongs to kReasoning, the end-of-sequence token to the phase that it ends.
enum class Phase : std::uint8_t { kReasoning = 0, kAnswer = 1 };
inline constexpr int kNumPhases = 2;

// How the tokens of one phase are drawn. Order of application: temperature, top_k, top_p, min_p.
struct PhaseSampling {
  float temperature = 0.6F;  // >= 0, finite; 0 takes the most likely token (ties: lowest id)
  float top_p = 0.95F;       // (0, 1]; 1 keeps all
  float min_p = 0.0F;        // [0, 1]; keeps p >= min_p * max p; 0 keeps all
  std::int32_t top_k = 0;    // >= 0; 0 keeps all
};

// Everything that draws one output's tokens. Together with the token ids before a position it
// fixes the token there: noise = Philox(key = seed; counter = output_index, position, token id).
struct SamplingParams {
  std::array<PhaseSampling, kNumPhases> phases;  // by Phase
  std::uint64_t seed = 0;
  std::uint32_t output_index = 0;
  std::int32_t think_end_id = -1;  // -1: the vocabulary has none
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
