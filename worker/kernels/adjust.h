#pragma once

#include <cstdint>
#include <limits>

#include "worker/kernels/host_device.h"
#include "worker/step/mask.h"
#include "worker/step/sampling.h"

// How a logit is adjusted before temperature and cuts, the same bits on every device. In this
// order:
//   bias        x + bias                               OpenAI API reference, logit_bias
//   repetition  x > 0 ? x / penalty : x * penalty      CTRL (Keskar et al. 2019, arXiv:1909.05858),
//               of ids in the prompt or drawn in the   section 4.1, with negative logits multiplied
//               phase                                  as in Hugging Face's implementation
//   frequency   x - times drawn in the phase * penalty OpenAI API reference,
//   presence    x - penalty, if drawn in the phase     frequency_penalty and presence_penalty
// A finite logit stays finite: what overflows becomes the greatest float of its sign.
//   mask        the least float, if the mask does not hold the id: no cut keeps it beside one that
//               the mask holds, as its weight is 0, and no noise makes it the greatest
// What is not finite is left by all of these, so that Draw finds it.
namespace thinkwire::worker::kernels {

// A slot's word for an id: bit 31, whether the prompt holds it; bit 30, a phase, and bits 0 to 29,
// how often it was drawn in that phase. A sequence never goes back to a phase, so that the counts
// of one may take the place of the other's.
inline constexpr std::uint32_t kInPrompt = 1U << 31;

HOST_DEVICE inline std::uint32_t DrawsOf(step::Phase phase, std::uint32_t times) {
  return static_cast<std::uint32_t>(phase) << 30 | times;
}
HOST_DEVICE inline std::uint32_t TimesDrawn(std::uint32_t word, step::Phase phase) {
  const std::uint32_t draws = word & ~kInPrompt;
  return draws >> 30 == static_cast<std::uint32_t>(phase) ? draws & ((1U << 30) - 1) : 0;
}
HOST_DEVICE inline std::uint32_t WithOneMoreDraw(std::uint32_t word, step::Phase phase) {
  return (word & kInPrompt) | DrawsOf(phase, TimesDrawn(word, phase) + 1);
}

// `word` is 0 where nothing is counted.
HOST_DEVICE inline float Adjusted(float x, float bias, std::uint32_t word,
                                  const step::PhaseSampling& sampling, step::Phase phase) {
  constexpr float kGreatest = std::numeric_limits<float>::max();
  if (!(x >= -kGreatest && x <= kGreatest)) return x;
  x += bias;
  const std::uint32_t times = TimesDrawn(word, phase);
  if (times > 0 || (word & kInPrompt) != 0) {
    const float repetition = sampling.repetition_penalty;
    x = x > 0.0F ? x / repetition : x * repetition;
  }
  if (times > 0) {
    x = __builtin_fmaf(-sampling.frequency_penalty, static_cast<float>(times), x);
    x -= sampling.presence_penalty;
  }
  return x > kGreatest ? kGreatest : x < -kGreatest ? -kGreatest : x;
}

// `mask` may be null. REQUIRES: it holds an id of the vocabulary at least.
HOST_DEVICE inline float Masked(float x, const step::MaskWord* mask, std::int64_t id) {
  constexpr float kGreatest = std::numeric_limits<float>::max();
  if (mask == nullptr || (mask[id / 64] >> (id % 64) & 1) != 0) return x;
  return x >= -kGreatest && x <= kGreatest ? -kGreatest : x;
}

}  // namespace thinkwire::worker::kernels
