#include "worker/engine/scheduler.h"

#include <algorithm>
#include <span>
#include <utility>

#include "common/check.h"
#include "worker/engine/ending_rule.h"

namespace thinkwire::worker::engine {

Scheduler::Scheduler(SchedulerConfig config, const step::Limits& limits)
    : config_(std::move(config)),
      limits_(limits),
      pool_(limits.num_blocks),
      cache_(pool_, limits.block_tokens),
      pace_(limits.max_in_flight),
      admission_(limits_, config_.enable_prefix_caching, pool_, cache_, pace_),
      order_{.patience = config_.prefill_patience, .budget = limits.max_num_batched_tokens},
      fair_share_(limits.max_num_batched_tokens),
      queue_(order_),
      slow_readers_(config_.slow_reader_timeout, config_.max_parked),
      shared_prompts_(limits.block_tokens) {
  CHECK(limits_.max_num_seqs >= 1 && limits_.max_num_batched_tokens >= 1 &&
            limits_.max_model_len >= 2 && limits_.block_tokens >= 1,
        "the runner's limits allow something to run");
  // Further ahead, a row's phase could depend on an id that neither the host nor the row has.
  CHECK(limits_.max_in_flight == 1 || limits_.max_in_flight == 2, "at most one step ahead");
  for (std::int32_t slot = limits_.max_num_seqs - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  running_.reserve(free_slots_.size());
}

Scheduler::~Scheduler() { CHECK(in_flight_.empty(), "every plan was collected"); }

Sequence* Scheduler::Find(RequestHandle handle) {
  const auto found = sequences_.find(handle);
  if (found == sequences_.end() || found->second->state() == SequenceState::kEnded) return nullptr;
  return found->second.get();
}

void Scheduler::End(RequestHandle handle, EndReason reason) {
  Sequence* const sequence = Find(handle);
  if (sequence == nullptr) return;
  Finish(*sequence, reason);
  RetireIfIdle(*sequence);
}

void Scheduler::EndAll(EndReason reason) {
  std::vector<RequestHandle> handles;
  handles.reserve(sequences_.size());
  for (const auto& [handle, sequence] : sequences_) handles.push_back(handle);
  for (const RequestHandle handle : handles) End(handle, reason);
}

void Scheduler::Force(RequestHandle handle, std::span<const std::int32_t> ids, TokenOrigin origin) {
  Sequence* const sequence = Find(handle);
  if (sequence == nullptr) return;
  for (const std::int32_t id : ids) {
    if (Give(*sequence, sequence->Force(id, origin))) break;
  }
  RetireIfIdle(*sequence);
}

void Scheduler::AnswerNow(RequestHandle handle) {
  Sequence* const sequence = Find(handle);
  if (sequence == nullptr) return;
  sequence->plan().Close(TokenOrigin::kAnswerNow);
  if (sequence->started()) PutForced(*sequence);
  RetireIfIdle(*sequence);
}

void Scheduler::Propose(RequestHandle handle, std::vector<std::int32_t> ids) {
  Sequence* const sequence = Find(handle);
  if (sequence != nullptr && sequence->draws_in_flight() == 0) sequence->Propose(std::move(ids));
}

void Scheduler::Rewind(RequestHandle handle, std::int32_t committed) {
  Sequence* const sequence = Find(handle);
  if (sequence == nullptr) return;
  GoBack(*sequence, committed);
  if (sequence->started()) PutForced(*sequence);
  RetireIfIdle(*sequence);
}

void Scheduler::GoBack(Sequence& sequence, std::int32_t committed) {
  for (BlockHandle& block : sequence.Rewind(committed, limits_.block_tokens)) {
    GiveUp(std::move(block));
  }
}

void Scheduler::Expire(Clock::TimePoint now) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    End(deadlines_.begin()->second, EndReason::kDeadline);
  }
  for (Sequence* const sequence : slow_readers_.TakeReturned()) GetInLine(*sequence);
  for (const RequestHandle handle : slow_readers_.Look(now)) End(handle, EndReason::kSlowReader);
}

std::optional<Clock::TimePoint> Scheduler::NextExpiry() const {
  std::optional<Clock::TimePoint> next = queue_.next_report();
  const auto consider = [&next](Clock::TimePoint time) {
    if (!next || time < *next) next = time;
  };
  if (!deadlines_.empty()) consider(deadlines_.begin()->first);
  if (const auto look = slow_readers_.next_look()) consider(*look);
  return next;
}

void Scheduler::Apply(const step::Result& result, Clock::TimePoint now) {
  CHECK(!in_flight_.empty() && in_flight_.front().step == result.step,
        "results come in the order of their plans");
  PlannedStep step = std::move(in_flight_.front());
  in_flight_.pop_front();
  retiring_blocks_ -= static_cast<std::int32_t>(step.given_up.size());
  step.given_up.clear();
  // Steps of a few tokens say nothing of how fast many are.
  if (step.tokens >= limits_.max_num_batched_tokens / 2) {
    pace_.Record(step.tokens, now - step.planned_at, now);
  }
  const Clock::Duration took = now - std::max(step.planned_at, applied_at_);
  time_share_.Record(step.work, took);
  if (!result.rows.empty()) deadline_budgets_.pace().Record(took);
  applied_at_ = now;
  std::size_t drawn = 0;
  for (const PlannedRow& row : step.rows) {
    Sequence& sequence = *row.sequence;
    const bool counts = sequence.OnCollected(row.draws, row.epoch);
    if (row.draws > 0) {
      CHECK(drawn < result.rows.size() && result.rows[drawn].slot == sequence.slot(),
            "each row that draws has its result");
      if (counts) CommitRow(row, result, result.rows[drawn]);
      HaveMaskFound(sequence);
      CloseInTime(sequence, now);
      ++drawn;
    }
    CacheBlocks(sequence);
    RetireIfIdle(sequence);
  }
  CHECK(drawn == result.rows.size(), "each result has its row");
}

void Scheduler::CommitRow(const PlannedRow& planned, const step::Result& result,
                          const step::RowResult& row) {
  Sequence& sequence = *planned.sequence;
  if (sequence.state() == SequenceState::kEnded) return;
  if (row.not_finite) {
    sequence.OnNotFinite();
    return Finish(sequence, EndReason::kNotFinite);
  }
  CHECK(row.num_ids >= 0 && row.num_ids <= planned.draws, "a row gives what it draws, at most");
  const Request& request = sequence.request();
  auto alternative = result.alternatives.begin() + row.first_alternative;
  for (std::int32_t i = row.first_id; i < row.first_id + row.num_ids; ++i) {
    const auto index = static_cast<std::size_t>(i);
    const std::int32_t drawn = result.ids[index];
    const std::int32_t id =
        sequence.plan().Taken(drawn, EndsSequence(request, config_.end_of_sequence_ids, drawn));
    if (sequence.plan().Refuses(id)) {
      sequence.plan().Continue();
      PutForced(sequence);
      return;
    }
    Token token = sequence.Commit(id, request.logprobs ? result.logprobs[index] : 0.0F);
    CHECK(!sequence.plan().breaks_format(), "what is drawn by a mask is in the format");
    const bool closes = token.mark == TokenMark::kClosesReasoning;
    token.alternatives.assign(alternative, alternative + request.alternatives);
    alternative += request.alternatives;
    if (Give(sequence, std::move(token))) return;
    if (sequence.epoch() != planned.epoch) return;  // other ids stand where the row drew more
    // What is being drawn now is drawn from another id, or without a mask.
    if (id != drawn || (closes && sequence.plan().is_masked())) {
      return GoBack(sequence, sequence.committed());
    }
  }
  // What was computed in the hope of more draws than stood was computed from the wrong ids.
  if (row.num_ids < planned.draws) GoBack(sequence, sequence.committed());
}

void Scheduler::CloseInTime(Sequence& sequence, Clock::TimePoint now) {
  const bool may_close = sequence.request().thinking.ends_in_time && sequence.request().deadline &&
                         sequence.state() != SequenceState::kEnded && sequence.plan().thinks_on();
  if (!may_close || !deadline_budgets_.IsSpent(sequence, now)) return;
  sequence.plan().Close(TokenOrigin::kDeadline);
  PutForced(sequence);
}

bool Scheduler::Give(Sequence& sequence, Token token) {
  return GiveOne(sequence, std::move(token)) || PutForced(sequence);
}

bool Scheduler::PutForced(Sequence& sequence) {
  while (const std::optional<NextId> next = sequence.plan().next()) {
    if (GiveOne(sequence, sequence.Force(next->id, next->origin))) return true;
  }
  return false;
}

bool Scheduler::GiveOne(Sequence& sequence, Token token) {
  const Reached reached{
      .max_tokens = sequence.reached_max_tokens() || sequence.plan().out_of_room(),
      .loop = sequence.plan().loops()};
  const std::optional<EndReason> end =
      EndBy(sequence.request(), config_.end_of_sequence_ids, reached, token);
  if (sequence.Tell(token)) slow_readers_.Watch(sequence);
  if (end) Finish(sequence, *end);
  return end.has_value();
}

void Scheduler::GiveUp(BlockHandle block) {
  if (in_flight_.empty()) return;
  in_flight_.back().given_up.push_back(std::move(block));
  ++retiring_blocks_;
}

void Scheduler::Preempt(Sequence& sequence) {
  StopRunning(sequence);
  sequence.Preempt();
  ++preemptions_;
  RetireIfIdle(sequence);
}

void Scheduler::StopRunning(Sequence& sequence) {
  std::erase(running_, &sequence);
  --sequence.peer().running;
  sequence.peer().served_step = last_step_;
  retiring_blocks_ += sequence.num_blocks();
}

bool Scheduler::PutOutPaused(const Sequence* other) {
  Sequence* const paused = slow_readers_.LongestPaused(other);
  if (paused == nullptr) return false;
  StopRunning(*paused);
  paused->Leave();
  RetireIfIdle(*paused);
  return true;
}

void Scheduler::WaitAgain(Sequence& sequence) {
  // One that was put out stays so for this plan, even if its reader just came back: it may be in
  // the plan's list of those that run.
  if (sequence.preempted() && !sequence.reading().full()) return GetInLine(sequence);
  slow_readers_.Park(sequence);
  PassPromptOn(sequence);
}

void Scheduler::GetInLine(Sequence& sequence) {
  queue_.Add(sequence, order_.Rank(admission_.InputsToCompute(sequence), sequence.arrival_step()));
}

void Scheduler::Finish(Sequence& sequence, EndReason reason) {
  if (sequence.state() == SequenceState::kQueued) {
    if (!shared_prompts_.Release(sequence)) queue_.Remove(sequence);
  } else if (sequence.state() == SequenceState::kRunning) {
    StopRunning(sequence);
  }
  PassPromptOn(sequence);
  slow_readers_.Forget(sequence);
  deadline_budgets_.Forget(sequence.handle());
  if (sequence.request().deadline) {
    deadlines_.erase({*sequence.request().deadline, sequence.handle()});
  }
  sequence.End(reason);
}

void Scheduler::RetireIfIdle(Sequence& sequence) {
  if (sequence.steps_in_flight() > 0) return;
  const bool ended = sequence.state() == SequenceState::kEnded;
  if (sequence.state() != SequenceState::kLeaving && !ended) return;
  retiring_blocks_ -= sequence.num_blocks();
  if (sequence.slot() >= 0) free_slots_.push_back(sequence.slot());
  ReleaseBlocks(sequence);
  if (ended) {
    Destroy(sequence);
  } else {
    sequence.Requeue();
    WaitAgain(sequence);
  }
}

void Scheduler::CheckInvariants() const {
  CHECK(std::ranges::is_sorted(running_, {}, &Sequence::handle), "running is in order of arrival");
  std::vector<int> holders(static_cast<std::size_t>(limits_.max_num_seqs), 0);
  for (const std::int32_t slot : free_slots_) ++holders[static_cast<std::size_t>(slot)];
  std::vector<std::int32_t> references(static_cast<std::size_t>(pool_.total()), 0);
  std::int32_t retiring = 0;
  for (const PlannedStep& step : in_flight_) {
    retiring += static_cast<std::int32_t>(step.given_up.size());
    for (const BlockHandle& block : step.given_up) {
      ++references[static_cast<std::size_t>(block.block())];
    }
  }
  std::int32_t queued = 0;
  std::int32_t parked = 0;
  for (const auto& [handle, sequence] : sequences_) {
    CheckSequence(*sequence);
    if (sequence->slot() >= 0) ++holders[static_cast<std::size_t>(sequence->slot())];
    for (std::int32_t i = 0; i < sequence->num_blocks(); ++i) {
      ++references[static_cast<std::size_t>(sequence->block(i))];
    }
    if (sequence->state() == SequenceState::kQueued) ++queued;
    if (sequence->state() == SequenceState::kParked) ++parked;
    if (sequence->state() != SequenceState::kRunning) retiring += sequence->num_blocks();
  }
  CHECK(std::all_of(holders.begin(), holders.end(), [](int n) { return n == 1; }),
        "every slot is free or held once");
  for (std::int32_t block = 0; block < pool_.total(); ++block) {
    CHECK(references[static_cast<std::size_t>(block)] == pool_.references(block),
          "a block is referenced by those that hold it");
  }
  CHECK(retiring == retiring_blocks_, "the retiring blocks are counted");
  CHECK(queued == this->queued(), "the queue holds the queued that are not held back");
  CHECK(parked == slow_readers_.parked(), "the parked are known");
  CheckPeers();
}

void Scheduler::CheckPeers() const {
  std::int32_t sequences = 0;
  for (const auto& [name, peer] : peers_) {
    const auto is_his = [&peer = peer](const Sequence* sequence) {
      return &sequence->peer() == &peer;
    };
    CHECK(peer.running == std::ranges::count_if(running_, is_his), "a peer's running are counted");
    CHECK(peer.sequences > 0, "a peer has sequences");
    sequences += peer.sequences;
  }
  CHECK(sequences == static_cast<std::int32_t>(sequences_.size()), "a sequence is one peer's");
}

void Scheduler::CheckSequence(const Sequence& sequence) const {
  sequence.CheckInvariants(limits_.block_tokens);
  CheckCachedBlocks(sequence);
  slow_readers_.CheckInvariants(sequence);
  if (sequence.state() == SequenceState::kQueued) return;
  if (sequence.state() == SequenceState::kParked) return;
  CHECK(sequence.slot() >= 0, "who does not wait has a slot");
  if (sequence.state() == SequenceState::kRunning) return;
  CHECK(sequence.steps_in_flight() > 0, "one that left waits for its steps alone");
}

void Scheduler::CheckCachedBlocks(const Sequence& sequence) const {
  for (std::int32_t i = 0; i < sequence.num_blocks(); ++i) {
    const std::int32_t block = sequence.block(i);
    if (i < sequence.blocks_cached()) {
      CHECK(cache_.follows(block, i > 0 ? sequence.block(i - 1) : -1),
            "cached blocks follow each other");
    } else {
      CHECK(!cache_.contains(block) && pool_.references(block) == 1,
            "a block that is not cached is one sequence's");
    }
  }
}

}  // namespace thinkwire::worker::engine
