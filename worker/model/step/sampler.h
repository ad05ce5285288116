#pragma once

#include <cstdint>

#include "worker/kernels/backend.h"
#include "worker/model/step/batch.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// The most words that Sampler::drawn has a row.
inline constexpr std::int64_t kDrawnMost = 3 + 2 * std::int64_t{step::kMaxAlternatives};

// Draws the tokens of a step on the device. Every rank draws the same from the same logits, so
// that each has the ids for its next step without asking.
// Owns: the slots' last drawn ids, a step's adjusted logits, and what it drew. Threads: the
// rank's.
class Sampler {
 public:
  // `backend` must outlive the sampler.
  Sampler(const step::Limits& limits, kernels::Backend& backend);

  // i32 [Q]: the id last drawn for each slot.
  kernels::Tensor last_drawn() const;

  // Draws a token for each row of `logits`, f32 [L, columns], L = batch.num_logits() >= 1. Of a
  // plain step it may be recorded.
  void Draw(const kernels::Tensor& logits, const Batch& batch);

  // What the last Draw, over `batch`, gave: i32 [3, L] of ids, log probabilities (bits of an f32)
  // and not-finite flags; of a step that is not plain, i32 [kDrawnMost, L]: further the L rows' [L,
  // kMaxAlternatives] ids and their log probabilities. Stays until the next Draw.
  kernels::Tensor drawn(const Batch& batch) const;

 private:
  kernels::Backend& backend_;
  const step::Limits limits_;
  kernels::Buffer last_drawn_;  // i32 [Q]
  kernels::Buffer drawn_;       // i32 [kDrawnMost, L], L <= most_draws
  kernels::Buffer adjusted_;    // f32 [L, vocab_size]
};

}  // namespace thinkwire::worker::model
