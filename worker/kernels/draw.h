#pragma once

#include <cstdint>

#include "worker/kernels/tensor.h"
#include "worker/step/limits.h"
#include "worker/step/mask.h"
#include "worker/step/sampling.h"

// What the ops that turn logits into tokens read and write beside them. Letters as in backend.h.
namespace thinkwire::worker::kernels {

// How each logits row draws. All pointers are device arrays of length L unless said.
struct DrawView {
  std::int32_t num_rows = 0;                // L
  const std::int32_t* slots = nullptr;      // -1 padding; rows of one slot lie side by side
  const std::int32_t* positions = nullptr;  // of the token to draw
  const std::int32_t* input_ids = nullptr;  // the row's last input token
  const step::Phase* phases = nullptr;      // of the token to draw
  // Reasoning rows whose input is the slot's think_end id draw as answer rows.
  const step::SamplingParams* slot_sampling = nullptr;  // [Q]
  std::int32_t vocab_size = 0;  // columns from here on are padding and are never drawn
};

// What AdjustLogits adjusts by, beside the slots' parameters. Device memory.
struct AdjustView {
  const step::LogitBias* biases =
      nullptr;    // [Q, 2, kMaxLogitBiases]: by slot and phase, each id once
  Tensor counts;  // i32 [Q, V]: words of adjust.h, by slot and id
  // By row: which of `masks`, of NumMaskWords(vocab_size) words each, says what it may draw; or
  // kNoMask. Null: no row has any.
  const std::int32_t* row_masks = nullptr;  // [L]
  const step::MaskWord* masks = nullptr;
};

// A slot's counts begin anew, with ids of the prompt and then ids drawn in `phase`.
struct CountsBegin {
  std::int32_t slot;
  std::int32_t first;  // of its ids
  std::int32_t num_prompt;
  std::int32_t num_drawn;
  step::Phase phase;
};

// What Logprobs gives of each row. All pointers are device arrays.
struct LogprobsView {
  const std::int32_t* slots = nullptr;             // [L], -1 padding
  const std::int32_t* ids = nullptr;               // [L] each in [0, vocab_size)
  const std::int32_t* num_alternatives = nullptr;  // [L], <= kMaxAlternatives and <= vocab_size
  std::int32_t num_rows = 0;                       // L
  std::int32_t vocab_size = 0;                     // columns from here on are padding
  float* logprobs = nullptr;                       // [L] of ids
  // [L, kMaxAlternatives] the row's most probable ids, most probable first, ties to the lowest id;
  // beyond its number nothing is written.
  std::int32_t* alternative_ids = nullptr;
  float* alternative_logprobs = nullptr;
};

}  // namespace thinkwire::worker::kernels
