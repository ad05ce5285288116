// Scheduler: who goes into the next step.
#include <algorithm>
#include <utility>

#include "common/check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {

step::Plan Scheduler::Plan(Clock::TimePoint now) {
  CHECK(steps_in_flight() < limits_.max_in_flight, "a plan more than the runner takes");
  // From now on others may read what the step before writes. Only now, as the device has it
  // already.
  if (!in_flight_.empty()) {
    for (const PlannedRow& row : in_flight_.back().rows) CacheBlocks(*row.sequence);
  }
  Round round{.builder = PlanBuilder(limits_), .now = now};
  PlanDecodes(round);
  PlanPrefills(round);
  if (round.builder.empty()) return {};
  recomputed_tokens_ += static_cast<std::uint64_t>(round.builder.recomputed_tokens());
  in_flight_.push_back({.step = ++last_step_,
                        .rows = round.builder.TakeRows(),
                        .given_up = {},
                        .tokens = round.builder.tokens(),
                        .planned_at = now});
  return round.builder.TakePlan(last_step_);
}

void Scheduler::PlanDecodes(Round& round) {
  // A copy, as PlanRow may preempt others and put them out.
  const std::vector<Sequence*> running = running_;
  for (Sequence* const sequence : running) {
    if (round.builder.budget() == 0) return;
    if (sequence->decoding()) PlanRow(*sequence, round);
  }
}

void Scheduler::PlanPrefills(Round& round) {
  const std::vector<Ranked> prefills = RunningPrefills();
  auto next = prefills.begin();
  bool may_admit = true;
  while (round.builder.budget() > 0) {
    may_admit = may_admit && MayAdmit(round);
    const bool last = next == prefills.end();
    if (may_admit && (last || queue_.ComesBefore(next->rank, next->sequence->handle()))) {
      may_admit = AdmitNext(round);
    } else if (!last) {
      PlanRow(*(next++)->sequence, round);
    } else {
      return;
    }
  }
}

std::vector<Scheduler::Ranked> Scheduler::RunningPrefills() const {
  std::vector<Ranked> prefills;
  for (Sequence* const sequence : running_) {
    if (sequence->decoding()) continue;
    const std::int32_t left = sequence->committed() - sequence->computed();
    prefills.push_back({order_.Rank(left, sequence->arrival_step()), sequence});
  }
  std::ranges::stable_sort(prefills, {}, &Ranked::rank);  // equals by arrival
  return prefills;
}

void Scheduler::PlanRow(Sequence& sequence, Round& round) {
  if (sequence.state() != SequenceState::kRunning) return;
  // While a draw is in flight, the next input is what it draws.
  const std::int32_t left = std::max(1, sequence.committed() - sequence.computed());
  const std::int32_t budget = round.builder.budget();
  std::int32_t count = std::min(left, budget);
  std::int32_t draws = 0;
  if (count == left) {
    const std::int32_t ready = sequence.ReadyToDraw();
    if (ready == 0) return;
    const std::int32_t proposed = static_cast<std::int32_t>(sequence.proposed().size());
    draws = 1 + std::min({proposed, ready - 1, budget - count, round.builder.spare_draws()});
    count += draws - 1;
  }
  if (!round.builder.MayTell(sequence)) return;
  if (!EnsureBlocks(sequence, sequence.computed() + count, round)) return;
  round.builder.AddRow(sequence, count, draws);
}

bool Scheduler::MayAdmit(const Round& round) const {
  // A sequence that waits for a block comes before new ones, and so does one that was preempted.
  return !queue_.empty() && round.waiting == 0 && !round.preempted && !AnyoneLeaves();
}

bool Scheduler::AnyoneLeaves() const {
  const auto leaves = [](const PlannedRow& row) {
    return row.sequence->state() == SequenceState::kLeaving;
  };
  return std::ranges::any_of(in_flight_, [&leaves](const PlannedStep& step) {
    return std::ranges::any_of(step.rows, leaves);
  });
}

bool Scheduler::AdmitNext(Round& round) {
  if (free_slots_.empty() && !PutOutPaused()) return false;
  Sequence& sequence = queue_.front();
  const auto consider = [&] { return admission_.Consider(sequence, running_.size(), round.now); };
  Admission::Offer offer = consider();
  while (offer.verdict == Admission::Verdict::kWait && PutOutPaused()) offer = consider();
  switch (offer.verdict) {
    case Admission::Verdict::kWait:
      return false;
    case Admission::Verdict::kTooLate:
      End(sequence.handle(), EndReason::kDeadlineTooSoon);
      return true;
    case Admission::Verdict::kAdmit:
      Start(sequence, offer);
      PlanRow(sequence, round);
      return true;
  }
  CHECK(false, "every verdict is heard");
}

void Scheduler::Start(Sequence& sequence, const Admission::Offer& offer) {
  queue_.Remove(sequence);
  sequence.Admit(free_slots_.back());
  free_slots_.pop_back();
  running_.insert(std::ranges::upper_bound(running_, sequence.handle(), {}, &Sequence::handle),
                  &sequence);
  admission_.GiveBlocks(offer, sequence);
  sequence.TellStarted();
}

bool Scheduler::EnsureBlocks(Sequence& sequence, std::int32_t end, Round& round) {
  while (sequence.num_blocks() * limits_.block_tokens < end) {
    if (std::optional<BlockHandle> block = cache_.Allocate()) {
      sequence.AddBlock(*std::move(block));
      continue;
    }
    if (PutOutPaused(&sequence)) continue;
    Sequence& youngest = *running_.back();
    const bool soon = retiring_blocks_ > round.waiting;  // given back within max_in_flight steps
    if (soon || &youngest == &sequence) {
      CHECK(soon || running_.size() > 1, "a sequence that runs alone fits the pool");
      ++round.waiting;
      return false;
    }
    Preempt(youngest);
    round.preempted = true;
  }
  return true;
}

}  // namespace thinkwire::worker::engine
