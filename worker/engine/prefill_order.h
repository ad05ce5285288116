#pragma once

#include <cstdint>

namespace thinkwire::worker::engine {

// Whose prompt is computed next: the shortest remaining one, with ageing.
//
//   rank = patience * inputs left to compute + budget * steps planned before its arrival
//
// The lowest rank goes first, the earlier arrival among equals. Shortest remaining first gives the
// least mean wait there is (Schrage, "A proof of the optimality of the shortest remaining
// processing time discipline", Operations Research 16, 1968), but lets a stream of short prompts
// starve a long one. The second term is the age: a rank never changes while its prompt waits, but
// those that come later begin higher. A prompt that would take n full steps alone is overtaken only
// by what arrives within patience * n steps after it, so that the longest context waits for what
// was there when it came and for what arrives in patience * max_model_len / budget steps.
// Age is counted in steps, not in seconds, so that equal requests in equal steps have equal plans;
// and not in tokens, as one step of a few decodes takes about as long as one of many.
//
// patience 0 is first come, first served; without limit it is shortest first without ageing. With
// 16, as simulated (`thinkwire-bench prefill`), short prompts wait almost as little as without
// ageing at four fifths of the load that can be borne, and at nearly all of it the longest wait of
// any prompt grows by half.
struct PrefillOrder {
  static constexpr std::int32_t kPatience = 16;

  std::int32_t patience = kPatience;  // >= 0
  std::int32_t budget = 1;            // input tokens a step, as in Limits

  constexpr std::int64_t Rank(std::int32_t inputs_left, std::uint64_t arrival_step) const {
    return std::int64_t{patience} * inputs_left +
           std::int64_t{budget} * static_cast<std::int64_t>(arrival_step);
  }

  // The `rank` of one that came at `arrival_step`, as if it had come at `since_step` if that is
  // later.
  constexpr std::int64_t Later(std::int64_t rank, std::uint64_t arrival_step,
                               std::uint64_t since_step) const {
    const std::uint64_t steps = since_step > arrival_step ? since_step - arrival_step : 0;
    return rank + std::int64_t{budget} * static_cast<std::int64_t>(steps);
  }
};

}  // namespace thinkwire::worker::engine
