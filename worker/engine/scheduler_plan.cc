// Scheduler: who goes into the next step.
#include <algorithm>
#include <utility>

#include "common/check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {

step::Plan Scheduler::Plan(Clock::TimePoint now) {
  CHECK(steps_in_flight() < limits_.max_in_flight, "a plan more than the runner takes");
  if (PlansTooEarly()) return {};
  // From now on others may read what the step before writes. Only now, as the device has it
  // already.
  if (!in_flight_.empty()) {
    for (const PlannedRow& row : in_flight_.back().rows) CacheBlocks(*row.sequence);
  }
  Round round{.builder = PlanBuilder(limits_), .now = now};
  ShareTime(round);
  PlanRows(round);
  if (round.builder.empty()) return {};
  time_share_.Commit();
  recomputed_tokens_ += static_cast<std::uint64_t>(round.builder.recomputed_tokens());
  masked_draws_ += static_cast<std::uint64_t>(round.builder.masked_draws());
  in_flight_.push_back({.step = ++last_step_,
                        .rows = round.builder.TakeRows(),
                        .given_up = {},
                        .tokens = round.builder.tokens(),
                        .work = round.work,
                        .planned_at = now});
  pool_.OnStep(last_step_);
  return round.builder.TakePlan(last_step_);
}

void Scheduler::PlanRows(Round& round) {
  PlanDecodes(round);
  PlanPrefills(round);
  // Nobody is held back for the sake of who can do nothing, unless a step in flight changes that.
  if (!round.builder.empty() || !in_flight_.empty() || !time_share_.holds_back()) return;
  time_share_.Lift();
  round.waiting = 0;
  PlanDecodes(round);
  PlanPrefills(round);
}

void Scheduler::PlanDecodes(Round& round) {
  for (Sequence* const sequence : InTurn()) {
    if (round.builder.budget() == 0) return;
    Peer& peer = sequence->peer();
    if (!sequence->decoding() && !time_share_.Holds(peer)) continue;
    if (PlanRow(*sequence, round)) peer.time.last_row = sequence->handle();
  }
}

void Scheduler::PlanPrefills(Round& round) {
  const std::vector<Ranked> prefills = RunningPrefills();
  auto next = prefills.begin();
  bool may_admit = true;
  while (TakesPrompts(round)) {
    may_admit = may_admit && MayAdmit(round);
    const bool last = next == prefills.end();
    if (may_admit && (last || queue_.ComesBefore(next->rank, next->sequence->handle()))) {
      may_admit = AdmitNext(round, true);
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
    if (sequence->decoding() || time_share_.Holds(sequence->peer())) continue;
    const std::int32_t left = sequence->committed() - sequence->computed();
    prefills.push_back({order_.Rank(left, sequence->arrival_step()), sequence});
  }
  std::ranges::stable_sort(prefills, {}, &Ranked::rank);  // equals by arrival
  return prefills;
}

bool Scheduler::PlanRow(Sequence& sequence, Round& round) {
  if (sequence.state() != SequenceState::kRunning) return false;
  // While a draw is in flight, the next input is what it draws.
  const std::int32_t left = std::max(1, sequence.committed() - sequence.computed());
  const std::int32_t budget = round.builder.budget();
  std::int32_t count = InTime(sequence, std::min(left, budget), round);
  if (count == 0) {
    ++rows_held_back_;
    return false;
  }
  std::int32_t draws = 0;
  if (count == left) {
    HaveMaskFound(sequence);
    if (sequence.plan().is_finding_mask()) ++rows_without_mask_;
    const std::int32_t ready = sequence.ReadyToDraw();
    if (ready == 0) return false;
    const std::int32_t proposed = static_cast<std::int32_t>(sequence.proposed().size());
    draws = 1 + std::min({proposed, ready - 1, budget - count, round.builder.spare_draws()});
    count += draws - 1;
  }
  if (!round.builder.MayTell(sequence)) return false;
  if (!EnsureBlocks(sequence, sequence.computed() + count, round)) return false;
  const StepWork work = StepWork::OfRow(sequence.computed(), count);
  round.has_prompt |= !sequence.decoding() && !time_share_.Holds(sequence.peer());
  round.builder.AddRow(sequence, count, draws);
  round.work += work;
  time_share_.Charge(sequence.peer(), work);
  return true;
}

void Scheduler::HaveMaskFound(Sequence& sequence) {
  const bool goes_on = sequence.state() != SequenceState::kEnded && sequence.draws_in_flight() == 0;
  if (config_.post_mask_work && goes_on) sequence.plan().HaveMaskFound(config_.post_mask_work);
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

bool Scheduler::AdmitNext(Round& round, bool plans_row) {
  Sequence& sequence = queue_.front();
  if (free_slots_.empty() && !PutOutPaused() && !Displace(sequence, round)) return false;
  const auto consider = [&] { return admission_.Consider(sequence, running_.size(), round.now); };
  Admission::Offer offer = consider();
  while (offer.verdict == Admission::Verdict::kWait &&
         (PutOutPaused() || Displace(sequence, round))) {
    offer = consider();
  }
  switch (offer.verdict) {
    case Admission::Verdict::kWait:
      return false;
    case Admission::Verdict::kTooLate:
      End(sequence.handle(), EndReason::kDeadlineTooSoon);
      return true;
    case Admission::Verdict::kAdmit:
      Start(sequence, offer);
      if (PutForced(sequence)) {
        RetireIfIdle(sequence);
      } else if (plans_row) {
        PlanRow(sequence, round);
      }
      return true;
  }
  CHECK(false, "every verdict is heard");
}

bool Scheduler::Displace(const Sequence& next, Round& round) {
  if (peers_.size() == 1 || !fair_share_.paid_back(last_step_)) return false;
  std::int64_t lost = 0;
  bool freed = false;
  for (Sequence* const sequence : FairShare::Displaced(LackOf(next), running_)) {
    if (sequence->began()) lost += sequence->computed();
    freed |= sequence->steps_in_flight() == 0;
    Preempt(*sequence);
    round.preempted = true;
  }
  fair_share_.OnDisplaced(lost, last_step_);
  return freed && !free_slots_.empty();
}

FairShare::Lack Scheduler::LackOf(const Sequence& next) const {
  // What those give back that have left and wait for their steps is there soon.
  const std::size_t slots_soon = static_cast<std::size_t>(limits_.max_num_seqs) - running_.size();
  return {.sequence = next,
          .slots = slots_soon == 0 ? 1 : 0,
          .blocks = admission_.MissingBlocks(next, running_.size()) - retiring_blocks_,
          .starts_with = admission_.BlocksOf(next),
          .before_preempted = queue_.FrontComesBeforePreempted(last_step_)};
}

void Scheduler::Start(Sequence& sequence, const Admission::Offer& offer) {
  queue_.Remove(sequence);
  sequence.Admit(free_slots_.back());
  free_slots_.pop_back();
  ++sequence.peer().running;
  sequence.peer().served_step = last_step_;
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
    Sequence& other = FairShare::ToGrow(running_);
    const bool soon = retiring_blocks_ > round.waiting;  // given back within max_in_flight steps
    if (soon || &other == &sequence) {
      CHECK(soon || running_.size() > 1, "a sequence that runs alone fits the pool");
      ++round.waiting;
      return false;
    }
    Preempt(other);
    round.preempted = true;
  }
  return true;
}

}  // namespace thinkwire::worker::engine
