#pragma once

#include <cstdint>
#include <vector>

#include "common/clock.h"
#include "worker/engine/block_pool.h"
#include "worker/engine/sequence.h"
#include "worker/engine/step_cost.h"
#include "worker/step/limits.h"
#include "worker/step/plan.h"

namespace thinkwire::worker::engine {

// A row of a plan, for the day that its result comes.
struct PlannedRow {
  Sequence* sequence;
  std::int32_t draws;
  std::uint32_t epoch;  // of the sequence, when the row was planned
};

// A plan in flight.
struct PlannedStep {
  std::uint64_t step = 0;
  std::vector<PlannedRow> rows;
  std::vector<BlockHandle> given_up;  // exchanged for others, but it may name them
  std::int32_t tokens = 0;            // inputs
  StepWork work = {};
  Clock::TimePoint planned_at;
};

// A plan in the making: the rows, their inputs, and what the runner must be told before them. Who
// goes into it is the scheduler's choice.
// Threads: the engine thread. Borrows the sequences until their rows are collected.
class PlanBuilder {
 public:
  explicit PlanBuilder(const step::Limits& limits);

  std::int32_t budget() const { return budget_; }  // input tokens left
  // How many draws rows may have beyond their first: what the runner takes, but for one a slot.
  std::int32_t spare_draws() const { return spare_draws_; }

  // Whether the plan has room for what the runner must know before the sequence's first row. An
  // empty plan has, for any sequence.
  bool MayTell(const Sequence& sequence) const;

  // Adds a row of the sequence's next `count` inputs, the last `draws` of them followed by a draw,
  // and tells the sequence so. The inputs are what it has left to compute and then what it proposes
  // or, while a draw is in flight, the one id that is being drawn. REQUIRES: MayTell;
  // 1 <= count <= budget(); draws <= 1 + spare_draws(); the blocks cover the inputs; draws is 0 if
  // committed inputs are left.
  void AddRow(Sequence& sequence, std::int32_t count, std::int32_t draws);

  bool empty() const { return rows_.empty(); }
  std::int32_t tokens() const { return limits_.max_num_batched_tokens - budget_; }
  std::int32_t masked_draws() const { return masked_draws_; }
  // Of the inputs: computed before, and lost in a preemption.
  std::int32_t recomputed_tokens() const { return recomputed_tokens_; }

  // In the order of the plan's rows.
  std::vector<PlannedRow> TakeRows() { return std::move(rows_); }
  step::Plan TakePlan(std::uint64_t step);

 private:
  void TellRunner(const Sequence& sequence);
  void TellSampling(const Sequence& sequence);
  // The row's mask, of its draw.
  std::int32_t AddMask(Sequence& sequence);
  std::int32_t AddInputs(const Sequence& sequence, std::int32_t count);

  const step::Limits& limits_;
  std::int32_t budget_;
  std::int32_t spare_draws_;
  std::int32_t recomputed_tokens_ = 0;
  std::int32_t masked_draws_ = 0;
  std::vector<PlannedRow> rows_;
  step::Plan plan_;
};

}  // namespace thinkwire::worker::engine
