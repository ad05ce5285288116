#pragma once

#include <cstdint>
#include <vector>

#include "worker/step/mask.h"
#include "worker/step/per_phase.h"
#include "worker/step/sampling.h"

// What goes down to the model: flat data without pointers, so that it could go over a wire.
namespace thinkwire::worker::step {

// Row::first_id of a row whose one input is the id last drawn for its slot. The id may not have
// reached the host yet.
inline constexpr std::int32_t kLastDrawn = -1;

// Row::mask of a row that may draw any id.
inline constexpr std::int32_t kNoMask = -1;

// Consecutive tokens of one sequence in one step.
struct Row {
  std::int32_t slot = 0;  // the sequence's slot, [0, max_num_seqs); once a plan
  // Of the first input token in its sequence, >= 0. The keys and values before it were written by
  // earlier steps, perhaps of other slots.
  std::int32_t first_position = 0;
  std::int32_t count = 1;         // input tokens, >= 1; 1 with kLastDrawn
  std::int32_t first_id = 0;      // index into Plan::input_ids, or kLastDrawn
  std::int32_t draws = 0;         // [0, count]: a token is drawn after each of the last `draws`
                                  // inputs, from the logits of that input
  bool logprob = false;           // report the drawn tokens' log probabilities
  std::int32_t alternatives = 0;  // and those of so many most probable ids, <= kMaxAlternatives
  bool adjusted = false;          // draw from logits that the slot's params adjust; draws <= 1 then
  // Which of Plan::masks says what it may draw, whatever the params say; or kNoMask. With a mask
  // draws is 1, as the next draw's mask would depend on this one.
  std::int32_t mask = kNoMask;
  // Phase of the first token to draw, as far as the host knows. Where it says kReasoning and one of
  // the last `draws` inputs is the slot's think_end_id, the runner draws the token after that input
  // and all later ones of the row with the answer's parameters.
  Phase phase = Phase::kReasoning;
};

// Position `index` of slot's block table names `block` from this step on. Each position at most
// once a plan. A block may stand in several slots' tables: what it holds there was written by steps
// before this one, and is not written again while it does.
struct BlockTableChange {
  std::int32_t slot = 0;
  std::int32_t index = 0;
  std::int32_t block = 0;
};

// The slot draws with `params` from this step on. Each slot at most once a plan.
struct SamplingChange {
  std::int32_t slot = 0;
  SamplingParams params;
  // The slot's logit biases in Plan::biases: params.num_biases() of them, the reasoning's, then the
  // answer's, of each phase every id at most once.
  std::int32_t first_bias = 0;
  // If params.counts(): what penalties count from the start, in Plan::counted_ids: ids of the
  // prompt, then those drawn so far in `phase`, the phase of the next token.
  std::int32_t first_counted = 0;
  std::int32_t num_prompt = 0;
  std::int32_t num_drawn = 0;
  Phase phase = Phase::kReasoning;
};

// One forward pass. Changes apply before the rows are computed.
struct Plan {
  std::uint64_t step = 0;  // ascending by 1 from 1
  std::vector<Row> rows = {};
  std::vector<std::int32_t> input_ids = {};
  std::vector<BlockTableChange> block_table_changes = {};
  std::vector<SamplingChange> sampling_changes = {};
  std::vector<LogitBias> biases = {};          // at most kMaxPlanBiases
  std::vector<std::int32_t> counted_ids = {};  // at most max_model_len; all changes' together
  // Of NumMaskWords(vocab_size) words each, one after another: at most one a row.
  std::vector<MaskWord> masks = {};
};

}  // namespace thinkwire::worker::step
