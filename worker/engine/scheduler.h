#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "common/peer_limits.h"
#include "worker/engine/admission.h"
#include "worker/engine/answer_format.h"
#include "worker/engine/block_pool.h"
#include "worker/engine/deadline_budget.h"
#include "worker/engine/fair_share.h"
#include "worker/engine/peer.h"
#include "worker/engine/plan_builder.h"
#include "worker/engine/prefill_order.h"
#include "worker/engine/prefill_pace.h"
#include "worker/engine/prefix_cache.h"
#include "worker/engine/prefix_use.h"
#include "worker/engine/request.h"
#include "worker/engine/sequence.h"
#include "worker/engine/shared_prompts.h"
#include "worker/engine/slow_readers.h"
#include "worker/engine/time_share.h"
#include "worker/engine/token.h"
#include "worker/engine/waiting_queue.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::engine {

struct SchedulerConfig {
  std::vector<std::int32_t> end_of_sequence_ids;
  Clock::Duration slow_reader_timeout = kReaderTimeout;
  bool enable_prefix_caching = true;
  std::size_t max_parked = kMaxQueue;  // sequences, beyond which the one parked first is given up
  std::int32_t prefill_patience = PrefillOrder::kPatience;
  // Where the masks of answers' formats are found; empty: by whoever plans their rows.
  PostMaskWork post_mask_work = nullptr;
};

// Decides who computes what in each step (continuous batching), and keeps every sequence's books.
//
// A step holds at most max_num_batched_tokens inputs: first one input for each decoding sequence,
// oldest first, then chunks of those that have more to compute (prompts, mostly), admitted or
// queued, in the order of PrefillOrder: a short prompt does not wait for a long one that came
// before. A sequence is admitted with the blocks of all ids it has (Admission), and asks for more
// as it grows. When none is free, one sequence is preempted, the youngest of whose peer has most
// blocks: it loses its blocks, goes back to the front of its peer's line and is later recomputed
// from its prompt and its further ids. That one itself waits instead, as someone else will end or
// take its blocks.
//
// Who asks has no less than others who ask: between peers the queue goes by who has fewest running
// (WaitingQueue), and who has more than others gives up slots and blocks for them (FairShare).
// Where rows cost time, those of who had more time than others sit steps out (TimeShare).
//
// A sequence whose reader is behind gives way to all that wait for a slot or blocks (SlowReaders).
//
// Full blocks of committed ids enter the prefix cache once the step that writes their last token
// was submitted: later plans may read them, as the runner computes in order; the same plan may not.
// If two computed the same block, the later one changes over to the cached one and gives its own
// back, so that a chain of cached blocks is held as a whole. Outputs of one prompt find its blocks
// that way (SharedPrompts); where nothing else is cached, theirs are, under a salt of their own.
//
// Plans may be made while earlier ones are in flight. Slots and blocks are free again when the last
// step that names them was collected; what a sequence draws after its end is dropped, and so is
// what it draws after it went elsewhere (Force, Rewind).
//
// Invariants (CheckInvariants): (1) running sequences are ordered by arrival; (2) every slot is
// free or held by one sequence; (3) a block is referenced by the sequences that have it and by
// steps in flight that a sequence gave it up during; (4) queued and parked sequences hold neither
// slot nor blocks nor steps in flight; (5) what peers have is counted; (6) who is
// held back (SharedPrompts) is queued, but not in line; (7) SlowReaders' and Sequence's own.
//
// Threads: one (the engine's). Pure logic: waits for nothing, reads no clock.
class Scheduler {
 public:
  Scheduler(SchedulerConfig config, const step::Limits& limits);
  ~Scheduler();  // REQUIRES: nothing in flight

  // REQUIRES: CheckRequest(request) == max_tokens; `handle` greater than all before. Those of one
  // Request::prompt_of come one after the other.
  void Add(RequestHandle handle, Request request, std::int32_t max_tokens,
           std::shared_ptr<TokenStream> stream);

  // Ends one (unknown handles are ignored) or all.
  void End(RequestHandle handle, EndReason reason);
  void EndAll(EndReason reason);

  // The output goes on with `ids`, as if they had been drawn, for the reason that `origin` says:
  // what is being drawn is passed over. They are judged as drawn ones are, so that one of them may
  // end the output; the rest of them is dropped then. Unknown and ended ones are ignored.
  void Force(RequestHandle handle, std::span<const std::int32_t> ids, TokenOrigin origin);

  // The reasoning ends now (OutputPlan::Close): what is forced then is given to the stream at once,
  // or when the sequence first runs. Unknown and ended ones are ignored.
  void AnswerNow(RequestHandle handle);

  // `ids` may turn out to be how the output goes on: where they fit, the next step draws after each
  // of them too, and the runner says which of the draws stand. No text depends on what is proposed.
  // Ignored while a draw is in flight, as nobody knows what they would follow then, and where
  // logits are adjusted.
  void Propose(RequestHandle handle, std::vector<std::int32_t> ids);

  // Takes the output back to its first `committed` ids, prompt included, and lets it go on from
  // there. The stream keeps what it was given: whoever goes back behind that must have seen to it.
  // Unknown and ended ones are ignored. REQUIRES: the prompt stays; no more than there is.
  void Rewind(RequestHandle handle, std::int32_t committed);

  // Ends those whose deadline has passed or whose reader was too slow, and gets those back in line
  // whose readers came back.
  void Expire(Clock::TimePoint now);

  // When Expire or ReportQueue has something to do next, if nothing else happens.
  std::optional<Clock::TimePoint> NextExpiry() const;

  // The next step; no rows if no sequence can, or should, go on before a step in flight is
  // collected or something happens outside. REQUIRES: fewer than max_in_flight plans in flight.
  step::Plan Plan(Clock::TimePoint now);

  // Takes the result of the oldest plan in flight, which came back at `now`.
  void Apply(const step::Result& result, Clock::TimePoint now);

  void ReportQueue(Clock::TimePoint now) { queue_.Report(now); }

  std::int32_t queued() const { return queue_.size() + shared_prompts_.num_held(); }
  std::int32_t paused() const { return slow_readers_.paused(); }
  std::int32_t parked() const { return slow_readers_.parked(); }
  // Hold a slot: those that ended or were preempted with steps in flight included.
  std::int32_t running() const { return limits_.max_num_seqs - free_slots(); }
  std::int32_t free_slots() const { return static_cast<std::int32_t>(free_slots_.size()); }
  std::int32_t steps_in_flight() const { return static_cast<std::int32_t>(in_flight_.size()); }
  std::uint64_t preemptions() const { return preemptions_; }
  std::uint64_t recomputed_tokens() const { return recomputed_tokens_; }
  std::uint64_t masked_draws() const { return masked_draws_; }
  // How often a row sat a step out, as its mask was being found.
  std::uint64_t rows_without_mask() const { return rows_without_mask_; }
  const TimeShare& time_share() const { return time_share_; }
  // How often a row sat a step out, as others came first, or would have waited for a step with it.
  std::uint64_t rows_held_back() const { return rows_held_back_; }
  const BlockPool& pool() const { return pool_; }
  const PrefixUse& prefix_use() const { return admission_.prefix_use(); }

  void CheckInvariants() const;  // for tests: linear in everything

 private:
  // The making of one plan.
  struct Round {
    PlanBuilder builder;
    std::int32_t waiting = 0;  // sequences that sit out until a block is given back
    bool preempted = false;    // someone was
    StepWork work = {};
    bool has_prompt = false;  // of one who is not held back
    Clock::TimePoint now;
  };
  struct Ranked {
    std::int64_t rank = 0;  // PrefillOrder's
    Sequence* sequence = nullptr;
  };

  bool OthersCome() const;     // than the one who is here, as far as is known
  bool PlansTooEarly() const;  // there may be someone who would wait for too much
  void PlanRows(Round& round);
  // Of who is held back, all rows.
  void PlanDecodes(Round& round);
  void PlanPrefills(Round& round);
  // Running sequences that have more than one input left, by rank, but of who is held back.
  std::vector<Ranked> RunningPrefills() const;
  // Adds what `sequence` has left to compute, as far as the budget goes, and draws after the last
  // of it. Nothing while the sequence must sit out, or if it left for one planned before: false.
  bool PlanRow(Sequence& sequence, Round& round);
  // Has the mask of the sequence's next draw found in time for that, where it has one.
  void HaveMaskFound(Sequence& sequence);
  // Divides the step's time between the peers; first gives each who has nothing running a slot.
  void ShareTime(Round& round);
  std::vector<TimeShare::Want> Wants(std::int32_t budget) const;
  // How many of the `count` inputs that `sequence` has left the step has time for.
  std::int32_t InTime(const Sequence& sequence, std::int32_t count, const Round& round) const;
  bool TakesPrompts(const Round& round) const;  // there are inputs and time left
  // Those that run, oldest first, then those of who is held back; of each peer, first those after
  // the one that had a row last. A copy, as PlanRow may preempt others and put them out.
  std::vector<Sequence*> InTurn() const;
  bool MayAdmit(const Round& round) const;
  bool AnyoneLeaves() const;  // is kLeaving: its steps are in flight
  // Gives the front of the queue its slot and blocks, if enough are free, or ends it, if it cannot
  // be computed in time; and plans its first row, if so asked. Whether it left the queue.
  bool AdmitNext(Round& round, bool plans_row);
  // Displaces those of other peers that must go for `next`, which is the front of the queue, if any
  // may. Whether that has freed something already, as no step in flight needs it.
  bool Displace(const Sequence& next, Round& round);
  FairShare::Lack LackOf(const Sequence& next) const;
  void Start(Sequence& sequence, const Admission::Offer& offer);
  // Gives `sequence` blocks for the positions before `end`; false if it must wait for them.
  bool EnsureBlocks(Sequence& sequence, std::int32_t end, Round& round);

  Peer& PeerOf(const std::string& name);
  void LetGo(const std::string& name);  // a peer without sequences
  // The sequence of `handle`, unless it has ended; null if there is none.
  Sequence* Find(RequestHandle handle);
  void CommitRow(const PlannedRow& planned, const step::Result& result, const step::RowResult& row);
  // Ends the reasoning if the time left is needed for the answer.
  void CloseInTime(Sequence& sequence, Clock::TimePoint now);
  void GoBack(Sequence& sequence, std::int32_t committed);
  // Gives the reader a token that was committed, and those that stand after it without being drawn.
  // Whether one of them was the last.
  bool Give(Sequence& sequence, Token token);
  bool GiveOne(Sequence& sequence, Token token);
  // Forces what the sequence's plan says that is not drawn. Whether that ended the output.
  bool PutForced(Sequence& sequence);
  // Puts the blocks of `sequence` that have become full into the prefix cache.
  void CacheBlocks(Sequence& sequence);
  // How many of its first ones may be there by now.
  std::int32_t BlocksToCache(const Sequence& sequence) const;
  // `sequence` does not go on to compute its prompt, if it did for others: the next of them does.
  void PassPromptOn(const Sequence& sequence);
  // Forgets the prompt of the last of some outputs, which nobody else may find.
  void ForgetPrompt(const Sequence& sequence);
  // Frees `block` once no step in flight can name it.
  void GiveUp(BlockHandle block);
  void Preempt(Sequence& sequence);
  // Takes `sequence` out of those that run; its slot and blocks stay until RetireIfIdle.
  void StopRunning(Sequence& sequence);
  // Takes slot and blocks from one that is paused, but for `other`. False if none is.
  bool PutOutPaused(const Sequence* other = nullptr);
  // One that lost its slot and blocks waits for them again, or is parked.
  void WaitAgain(Sequence& sequence);
  void GetInLine(Sequence& sequence);
  // Gives `sequence` its ending; its slot and blocks stay until RetireIfIdle.
  void Finish(Sequence& sequence, EndReason reason);
  // Frees slot and blocks of one that left, unless a step in flight names them. May destroy it.
  void RetireIfIdle(Sequence& sequence);
  void ReleaseBlocks(Sequence& sequence);
  void Destroy(const Sequence& sequence);
  void CheckSequence(const Sequence& sequence) const;
  void CheckPeers() const;
  void CheckCachedBlocks(const Sequence& sequence) const;

  const SchedulerConfig config_;
  const step::Limits limits_;
  BlockPool pool_;  // outlives the sequences and steps, which hold its blocks
  PrefixCache cache_;
  PrefillPace pace_;
  DeadlineBudgets deadline_budgets_;
  Clock::TimePoint applied_at_;  // the last step
  Admission admission_;
  std::unordered_map<std::string, Peer> peers_;  // who has sequences, by name
  std::unordered_map<RequestHandle, std::unique_ptr<Sequence>> sequences_;
  const PrefillOrder order_;
  FairShare fair_share_;
  TimeShare time_share_;
  WaitingQueue queue_;
  SlowReaders slow_readers_;
  SharedPrompts shared_prompts_;
  std::vector<Sequence*> running_;  // kRunning, oldest first
  std::vector<std::int32_t> free_slots_;
  // Held by kLeaving and kEnded sequences or given up: at most so many are free soon, as others may
  // hold them too.
  std::int32_t retiring_blocks_ = 0;
  std::deque<PlannedStep> in_flight_;
  std::set<std::pair<Clock::TimePoint, RequestHandle>> deadlines_;
  std::uint64_t last_step_ = 0;
  std::uint64_t preemptions_ = 0;
  std::uint64_t recomputed_tokens_ = 0;
  std::uint64_t masked_draws_ = 0;
  std::uint64_t rows_without_mask_ = 0;
  std::uint64_t rows_held_back_ = 0;
};

}  // namespace thinkwire::worker::engine
