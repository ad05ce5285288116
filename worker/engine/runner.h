#pragma once

#include <cstdint>
#include <vector>

#include "worker/engine/sampling.h"

// The seam between who runs (the engine) and what is computed (the model). Plans and results are
// flat data without pointers, so that they could go over a wire.
namespace thinkwire::worker::engine {

// Row::first_id of a row whose one input is the id last sampled for its slot. The id may not
// have reached the host yet.
inline constexpr std::int32_t kLastSampled = -1;

// Consecutive tokens of one sequence in one step.
struct Row {
  std::int32_t slot = 0;  // the sequence's slot, [0, max_num_seqs); once a plan
  // Of the first input token in its sequence, >= 0. The keys and values before it were written by
  // earlier steps, perhaps of other slots.
  std::int32_t first_position = 0;
  std::int32_t count = 1;         // input tokens, >= 1; 1 with kLastSampled
  std::int32_t first_id = 0;      // index into StepPlan::input_ids, or kLastSampled
  bool sample = false;            // draw the token that follows the last input token
  bool logprob = false;           // report the drawn token's log probability
  std::int32_t alternatives = 0;  // and those of so many most probable ids, <= kMaxAlternatives
  bool adjusted = false;          // draw from logits that the slot's params adjust
  // Phase of the token to draw, as far as the host knows. Where it says kReasoning and the last
  // input token is the slot's think_end_id, the runner draws with the answer's parameters.
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
  // If params.counts(): what penalties count from the start, in StepPlan::counted_ids: ids of the
  // prompt, then those drawn so far in `phase`, the phase of the next token.
  std::int32_t first_counted = 0;
  std::int32_t num_prompt = 0;
  std::int32_t num_drawn = 0;
  Phase phase = Phase::kReasoning;
};

// Logit biases in the changes of one plan, at most: two requests' at their largest.
inline constexpr std::size_t kMaxPlanBiases = 2 * kNumPhases * kMaxLogitBiases;

// One forward pass. Changes apply before the rows are computed.
struct StepPlan {
  std::uint64_t step = 0;  // ascending by 1 from 1
  std::vector<Row> rows;
  std::vector<std::int32_t> input_ids;
  std::vector<BlockTableChange> block_table_changes;
  std::vector<SamplingChange> sampling_changes;
  std::vector<std::int32_t> counted_ids = {};  // at most max_model_len; all changes' together
};

// What one row with `sample` set gave, in the order of the plan's rows.
struct RowResult {
  std::int32_t slot = 0;
  std::int32_t first_id = 0;  // index into StepResult::ids and ::logprobs
  std::int32_t num_ids = 0;   // 1 today; 0..k once drafts are verified
  bool not_finite = false;    // the logits held a NaN or infinity: the ids mean nothing
  // Into StepResult::alternatives: as many as the row asked for.
  std::int32_t first_alternative = 0;
};

struct StepResult {
  std::uint64_t step = 0;
  std::vector<RowResult> rows;
  std::vector<std::int32_t> ids;
  // Natural logarithm of the token's probability under the model's own distribution
  // (temperature 1, nothing cut off), parallel to ids; 0 where the row did not ask for it.
  std::vector<float> logprobs;
  // Of the rows that asked for them: the most probable ids, most probable first, ties lowest id
  // first, with what logprobs would say of them.
  std::vector<Alternative> alternatives = {};
};

// The last sign of life of one rank: where it is, as far as its host knows.
struct RankBeat {
  std::uint64_t step = 0;  // given last, 0 before the first
  std::int32_t layer = 0;  // of that step, counted from 1; 0 before its first

  bool operator==(const RankBeat&) const = default;
};

// Fixed once the runner exists.
struct RunnerLimits {
  std::int32_t max_num_seqs = 0;            // slots
  std::int32_t max_num_batched_tokens = 0;  // input tokens a plan
  std::int32_t max_model_len = 0;           // tokens a sequence
  std::int32_t block_tokens = 0;            // tokens a KV block
  std::int32_t num_blocks = 0;              // KV blocks in all
  std::int32_t max_in_flight = 1;           // D: plans submitted and not yet collected
  std::int32_t vocab_size = 0;              // ids that may be input or sampled: [0, vocab_size)
};

// Computes plans in order. Threads: Submit and Collect on the engine thread alone. Fails: never by
// return; a device that breaks ends the process.
class Runner {
 public:
  virtual ~Runner() = default;

  virtual const RunnerLimits& limits() const = 0;

  // Starts `plan`, which holds at least one row. REQUIRES: fewer than max_in_flight plans in
  // flight. Does not wait for the plan's own computation.
  virtual void Submit(StepPlan plan) = 0;

  // Waits for the oldest plan in flight. REQUIRES: at least one is.
  virtual StepResult Collect() = 0;

  // In rank order. A rank beats once a layer where its host works layer by layer. Where the device
  // replays a recorded step, or works later than it is told, the host is ahead: there the step's
  // coming back from Collect is the sign. Waits for nothing. Threads: any.
  virtual std::vector<RankBeat> beats() const = 0;
};

}  // namespace thinkwire::worker::engine
