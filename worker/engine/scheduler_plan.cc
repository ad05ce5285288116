// Scheduler: who goes into the next step.
#include <algorithm>
#include <span>
#include <utility>

#include "common/check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

std::int32_t BlocksFor(std::int32_t tokens, std::int32_t block_tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

// Blocks left alone by admission, so that the sequences that run can grow for a while before one
// must be preempted again.
std::int32_t Headroom(std::size_t running, std::int32_t total_blocks) {
  if (running == 0) return 0;
  return std::max(static_cast<std::int32_t>(running), total_blocks / 100);
}

std::size_t NumBiases(const Sequence& sequence) {
  return static_cast<std::size_t>(sequence.request().sampling.num_biases());
}

}  // namespace

step::Plan Scheduler::Plan(Clock::TimePoint now) {
  CHECK(steps_in_flight() < limits_.max_in_flight, "a plan more than the runner takes");
  // From now on others may read what the step before writes. Only now, as the device has it
  // already.
  if (!in_flight_.empty()) {
    for (const PlannedRow& row : in_flight_.back().rows) CacheBlocks(*row.sequence);
  }
  Draft draft{.plan = {}, .rows = {}, .budget = limits_.max_num_batched_tokens, .now = now};
  PlanDecodes(draft);
  PlanPrefills(draft);
  Admit(draft);
  if (draft.rows.empty()) return {};
  draft.plan.step = ++last_step_;
  in_flight_.push_back({.step = draft.plan.step,
                        .rows = std::move(draft.rows),
                        .given_up = {},
                        .tokens = limits_.max_num_batched_tokens - draft.budget,
                        .planned_at = draft.now});
  return std::move(draft.plan);
}

void Scheduler::PlanDecodes(Draft& draft) {
  // EnsureBlock may preempt, which takes away only from the back and never the current one.
  for (std::size_t i = 0; i < running_.size() && draft.budget > 0; ++i) {
    Sequence& sequence = *running_[i];
    if (!sequence.decoding() || !MayDraw(sequence, draft.now)) continue;
    if (!MayTell(sequence, draft) || !EnsureBlock(sequence, draft)) continue;
    AddRow(sequence, 1, 1, draft);
  }
}

void Scheduler::PlanPrefills(Draft& draft) {
  for (std::size_t i = 0; i < running_.size() && draft.budget > 0; ++i) {
    if (!running_[i]->decoding()) PlanPrefill(*running_[i], draft);
  }
}

void Scheduler::PlanPrefill(Sequence& sequence, Draft& draft) {
  const std::int32_t left = sequence.committed() - sequence.computed();
  const std::int32_t count = std::min(left, draft.budget);
  const std::int32_t draws = count == left ? 1 : 0;
  if (draws > 0 && !MayDraw(sequence, draft.now)) return;
  if (!MayTell(sequence, draft)) return;
  AddRow(sequence, count, draws, draft);
}

void Scheduler::Admit(Draft& draft) {
  // A sequence that waits for a block comes before new ones.
  while (draft.budget > 0 && draft.waiting == 0 && !queue_.empty() && !free_slots_.empty()) {
    if (!AdmitNext(draft)) return;
  }
}

bool Scheduler::AdmitNext(Draft& draft) {
  Sequence& sequence = queue_.front();
  const std::int32_t spare = pool_.free() - Headroom(running_.size(), pool_.total());
  if (spare < 1) return false;  // the block of the last id is never a shared one
  const std::int32_t blocks = BlocksFor(sequence.committed(), limits_.block_tokens);
  const std::vector<std::int32_t> cached = CachedBlocks(sequence);
  if (IsTooLate(sequence, cached.size(), draft.now)) {
    End(sequence.handle(), EndReason::kDeadlineTooSoon);
    return true;
  }
  const auto shared = static_cast<std::int32_t>(std::ranges::count_if(
      cached, [this](std::int32_t block) { return pool_.references(block) > 0; }));
  if (blocks - shared > spare) return false;
  queue_.Remove(sequence);
  sequence.state = SequenceState::kRunning;
  sequence.slot = free_slots_.back();
  free_slots_.pop_back();
  // All references first, so that none of them leaves the cache for a new block.
  for (const std::int32_t block : cached) {
    sequence.AddCachedBlock(pool_.Reference(block), limits_.block_tokens);
  }
  while (sequence.num_blocks() < blocks) sequence.AddBlock(*cache_.Allocate());
  running_.push_back(&sequence);
  CountPrefixUse(sequence);
  if (!std::exchange(sequence.started, true)) sequence.stream->SetStarted(sequence.computed());
  PlanPrefill(sequence, draft);
  return true;
}

bool Scheduler::IsTooLate(const Sequence& sequence, std::size_t cached_blocks,
                          Clock::TimePoint now) const {
  if (!sequence.request().deadline) return false;
  const std::int32_t cached = static_cast<std::int32_t>(cached_blocks) * limits_.block_tokens;
  const auto at_least = pace_.AtLeast(sequence.committed() - cached, now);
  return at_least && now + *at_least > *sequence.request().deadline;
}

std::vector<std::int32_t> Scheduler::CachedBlocks(const Sequence& sequence) const {
  if (!config_.enable_prefix_caching) return {};
  const auto computable = static_cast<std::size_t>(sequence.committed() - 1);
  return cache_.Match(sequence.request().cache_salt, std::span(sequence.ids()).first(computable));
}

void Scheduler::CountPrefixUse(const Sequence& sequence) {
  if (!config_.enable_prefix_caching) return;
  ++prefix_use_.queries;
  if (sequence.computed() > 0) ++prefix_use_.hits;
  prefix_use_.query_tokens += static_cast<std::uint64_t>(sequence.committed());
  prefix_use_.hit_tokens += static_cast<std::uint64_t>(sequence.computed());
}

bool Scheduler::MayDraw(Sequence& sequence, Clock::TimePoint now) {
  if (!sequence.MayDraw()) return false;
  const std::size_t room = sequence.stream->room();
  const auto in_flight = static_cast<std::size_t>(sequence.draws_in_flight());
  if (room > in_flight) {
    sequence.full_at.reset();
    return true;
  }
  if (room == 0 && !sequence.full_at) sequence.full_at = now;
  return false;
}

bool Scheduler::EnsureBlock(Sequence& sequence, Draft& draft) {
  if (sequence.computed() < sequence.num_blocks() * limits_.block_tokens) return true;
  for (;;) {
    if (std::optional<BlockHandle> block = cache_.Allocate()) {
      sequence.AddBlock(*std::move(block));
      return true;
    }
    Sequence& youngest = *running_.back();
    const bool soon = retiring_blocks_ > draft.waiting;  // given back within max_in_flight steps
    if (soon || &youngest == &sequence) {
      CHECK(soon || running_.size() > 1, "a sequence that runs alone fits the pool");
      ++draft.waiting;
      return false;
    }
    Preempt(youngest);
  }
}

void Scheduler::AddRow(Sequence& sequence, std::int32_t count, std::int32_t draws, Draft& draft) {
  step::Plan& plan = draft.plan;
  TellRunner(sequence, draft);
  step::Row row{.slot = sequence.slot,
                .first_position = sequence.computed(),
                .count = count,
                .first_id = step::kLastDrawn,
                .draws = draws,
                .logprob = draws > 0 && sequence.request().logprobs,
                .alternatives = draws > 0 ? sequence.request().alternatives : 0,
                .adjusted = draws > 0 && sequence.request().sampling.adjusts(),
                .phase = sequence.phase()};
  if (sequence.draws_in_flight() == 0) {
    row.first_id = static_cast<std::int32_t>(plan.input_ids.size());
    const auto first = sequence.ids().begin() + sequence.computed();
    plan.input_ids.insert(plan.input_ids.end(), first, first + count);
  }
  plan.rows.push_back(row);
  draft.rows.push_back({.sequence = &sequence, .draws = draws});
  draft.budget -= count;
  recomputed_tokens_ += static_cast<std::uint64_t>(sequence.RecomputedOf(count));
  sequence.OnSubmitted(count, draws);
}

void Scheduler::TellRunner(Sequence& sequence, Draft& draft) {
  step::Plan& plan = draft.plan;
  for (; sequence.blocks_told < sequence.num_blocks(); ++sequence.blocks_told) {
    plan.block_table_changes.push_back({.slot = sequence.slot,
                                        .index = sequence.blocks_told,
                                        .block = sequence.block(sequence.blocks_told)});
  }
  if (!std::exchange(sequence.sampling_told, true)) TellSampling(sequence, draft);
}

bool Scheduler::MayTell(const Sequence& sequence, const Draft& draft) const {
  if (sequence.sampling_told) return true;
  const std::size_t counted = sequence.counted_prompt().size() + sequence.counted_draws().size();
  return draft.plan.counted_ids.size() + counted <=
             static_cast<std::size_t>(limits_.max_model_len) &&
         draft.plan.biases.size() + NumBiases(sequence) <= step::kMaxPlanBiases;
}

void Scheduler::TellSampling(const Sequence& sequence, Draft& draft) {
  std::vector<std::int32_t>& counted = draft.plan.counted_ids;
  const auto prompt = sequence.counted_prompt();
  const auto drawn = sequence.counted_draws();
  draft.plan.sampling_changes.push_back(
      {.slot = sequence.slot,
       .params = sequence.request().sampling,
       .first_bias = static_cast<std::int32_t>(draft.plan.biases.size()),
       .first_counted = static_cast<std::int32_t>(counted.size()),
       .num_prompt = static_cast<std::int32_t>(prompt.size()),
       .num_drawn = static_cast<std::int32_t>(drawn.size()),
       .phase = sequence.phase()});
  counted.insert(counted.end(), prompt.begin(), prompt.end());
  counted.insert(counted.end(), drawn.begin(), drawn.end());
  for (const auto& biases : sequence.request().logit_bias) {
    draft.plan.biases.insert(draft.plan.biases.end(), biases.begin(), biases.end());
  }
}

}  // namespace thinkwire::worker::engine
