#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "worker/engine/block_pool.h"
#include "worker/engine/output_plan.h"
#include "worker/engine/peer.h"
#include "worker/engine/phase.h"
#include "worker/engine/reader_pace.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"
#include "worker/engine/token_stream.h"

namespace thinkwire::worker::engine {

enum class SequenceState : std::uint8_t {
  kQueued,   // no slot, no blocks
  kRunning,  // has a slot and blocks
  kLeaving,  // loses both, but only when its steps in flight are collected; then kQueued
  kParked,   // no slot, no blocks, and not in the queue either: its reader is behind
  kEnded,    // its stream has its ending: keeps both until its steps in flight are collected
};

// One output's progress.
// Committed are the ids that the host knows: prompt, drawn and forced. Computed are the positions
// whose inputs were handed to the runner, whether or not that step was collected. Where the host
// decides otherwise than the rows in flight assume, the sequence goes on from what it has decided,
// in a new epoch: what rows of an older epoch draw is passed over.
//
// Invariants of one that runs (CheckInvariants):
// (1) without draws in flight something is left to compute: computed < committed;
// (2) with draws in flight all ids are computed, and the next input is the last id that is being
//     drawn: computed == committed + draws_in_flight - 1;
// (3) the blocks cover every computed position;
// (4) the first blocks_cached blocks are in the prefix cache, each after the one before it, and are
//     not written to: they end at or before the next input. The others are this sequence's alone.
// Threads: the engine thread.
class Sequence {
 public:
  // Its ids are the prompt's and those that the output has (Request::drawn_ids).
  // `max_tokens` as CheckRequest gave it; `arrival_step` is the last one planned before it came.
  // `peer` outlives it; whoever asks for peer() must have given one.
  Sequence(RequestHandle handle, Request request, std::int32_t max_tokens,
           std::shared_ptr<TokenStream> stream, std::uint64_t arrival_step = 0,
           Peer* peer = nullptr);

  RequestHandle handle() const { return handle_; }  // ascending in order of arrival
  std::uint64_t arrival_step() const { return arrival_step_; }
  Peer& peer() const { return *peer_; }
  const Request& request() const { return request_; }
  SequenceState state() const { return state_; }
  std::int32_t slot() const { return slot_; }  // -1: none
  const std::vector<std::int32_t>& ids() const { return ids_; }
  std::int32_t committed() const { return static_cast<std::int32_t>(ids_.size()); }
  std::int32_t computed() const { return computed_; }
  std::int32_t draws_in_flight() const { return draws_in_flight_; }  // of this epoch
  std::int32_t steps_in_flight() const { return steps_in_flight_; }  // of any
  std::uint32_t epoch() const { return epoch_; }
  std::int32_t generated() const;                        // committed beyond the prompt
  step::Phase phase() const { return phase_.phase(); }   // of the token after the committed ones
  bool undecided() const { return phase_.undecided(); }  // whether that may yet be reasoning
  // As which that token is drawn: one that may be reasoning, as reasoning.
  step::Phase draw_phase() const { return undecided() ? step::Phase::kReasoning : phase(); }

  // The committed ids that penalties count: of the prompt, if any of them does, and those drawn or
  // forced in draw_phase().
  std::span<const std::int32_t> counted_prompt() const;
  std::span<const std::int32_t> counted_draws() const;

  // Its way through the scheduler.
  void Admit(std::int32_t slot);  // kQueued to kRunning
  void Preempt();                 // kRunning to kLeaving, as others need its blocks
  void Leave();                   // likewise, as its reader is behind
  void Requeue();                 // kLeaving to kQueued. REQUIRES: no step in flight, no block
  void Park();                    // kQueued to kParked
  void Return();                  // kParked to kQueued
  void End(EndReason reason);     // any but kEnded to kEnded: the stream gets its ending

  // What the reader is told, once each: its place in the queue, until it was admitted; and that,
  // with the tokens of the prompt that it need not compute.
  void TellPosition(std::int32_t position);
  bool knows_position() const { return started_ || queue_position_ >= 0; }
  void TellStarted();
  bool started() const { return started_; }
  bool Tell(const Token& token);  // whether its stream is full now

  // At most one input is left to compute: what follows it can be drawn in one row of one token.
  bool decoding() const { return computed_ + 1 >= committed(); }
  // How many more tokens may be drawn by now: what the token limit leaves beyond those in flight,
  // as far as the stream has room. None while it depends on draws in flight which position is the
  // next (there are several) or how it is drawn (any, while the phase is undecided, in an answer
  // that has a format, or where the runner would have to be told of ids that it draws), and none
  // while the mask of the next one is being found.
  std::int32_t ReadyToDraw() const;
  bool reached_max_tokens() const { return generated() >= max_tokens_; }

  // Its reader, who may read at any moment. REQUIRES: not ended.
  TokenStream::Reading reading() const { return stream_->reading(); }
  ReaderPace::Verdict LookAtReader(Clock::Duration timeout, Clock::TimePoint now) {
    return reader_.Look(reading(), timeout, now);
  }
  std::optional<Clock::TimePoint> behind_since() const { return reader_.since(); }
  // It runs, but all that was drawn came back and there is no room for more.
  bool paused() const;
  // It was preempted, and did not run since.
  bool preempted() const { return preempted_; }
  // Since it got its slot: whether any input was computed, and how many tokens it is longer by.
  bool began() const { return began_; }
  std::int32_t grown() const { return committed() - admitted_length_; }

  // How many of the next `count` inputs were computed before, and lost with their blocks.
  std::int32_t RecomputedOf(std::int32_t count) const;

  // Ids that may turn out to follow the committed ones: if all that is left can be computed in the
  // next row, they are further inputs of it, each followed by a draw of its own. After that row, or
  // when other ids are appended before, they are forgotten.
  void Propose(std::vector<std::int32_t> ids);
  const std::vector<std::int32_t>& proposed() const { return proposed_; }

  // A row of `count` inputs was handed to the runner.
  void OnSubmitted(std::int32_t count, std::int32_t draws);
  // The oldest row in flight was collected; it was submitted in `epoch`. Whether its draws count.
  bool OnCollected(std::int32_t draws, std::uint32_t epoch);
  // The logits held a NaN or infinity: what this sequence computed is worth nothing to others.
  void OnNotFinite() { not_finite_ = true; }
  bool not_finite() const { return not_finite_; }

  // `id` was drawn. The token's mark says whether it opens or closes the reasoning; whether it ends
  // the output is not known here.
  Token Commit(std::int32_t id, float logprob);
  // Appends `id` as if it had been drawn; draws in flight are passed over. The next plan computes
  // it. REQUIRES: not ended; `origin` is not kDrawn.
  Token Force(std::int32_t id, TokenOrigin origin);
  // What is to stand next: forced, or by a draw.
  OutputPlan& plan() { return plan_; }
  const OutputPlan& plan() const { return plan_; }
  // Goes back to the first `committed` ids; draws in flight are passed over. What was computed from
  // an id taken back counts as computed no more, nor does the last id that stays, as the token
  // after it is to be drawn anew. Returns the blocks that are thereby of no use, last first: steps
  // in flight may name them. A cached one stays right for the ids that it was cached with, but is
  // nothing to write to: where one holds the next input, it is computed anew from its first token.
  // REQUIRES: not ended; the prompt stays; no more than there is.
  std::vector<BlockHandle> Rewind(std::int32_t committed, std::int32_t block_tokens);

  std::int32_t num_blocks() const { return static_cast<std::int32_t>(blocks_.size()); }
  std::int32_t block(std::int32_t index) const {
    return blocks_[static_cast<std::size_t>(index)].block();
  }
  void AddBlock(BlockHandle block) { blocks_.push_back(std::move(block)); }
  // Adds a block whose `tokens` were computed before. REQUIRES: all blocks so far are such.
  void AddCachedBlock(BlockHandle block, std::int32_t tokens);
  // Takes the last block away; nothing once there is none. REQUIRES: steps_in_flight() == 0.
  std::optional<BlockHandle> TakeLastBlock();

  std::int32_t blocks_cached() const { return blocks_cached_; }
  // The first block that was not cached now is: as it is, or exchanged for one that holds the same.
  // The latter returns the old one, which steps in flight may still name.
  void MarkCached() { ++blocks_cached_; }
  BlockHandle ExchangeForCached(BlockHandle block);

  // What the runner does not know yet: blocks from an index on, and how the slot draws.
  std::int32_t blocks_told() const { return blocks_told_; }
  bool sampling_told() const { return sampling_told_ && masks_ == masks_think_end(); }
  void OnTold();  // it knows all there is
  // Whether the next token is drawn without the think-end id.
  bool masks_think_end() const { return plan_.Masks(generated() + draws_in_flight_); }

  void CheckInvariants(std::int32_t block_tokens) const;  // for tests

 private:
  Token Append(std::int32_t id, TokenOrigin origin);
  // The last of so many ids, into the phase and the plan.
  Token Follow(std::int32_t id, TokenOrigin origin, std::int32_t committed);
  void ReplayIds();  // all of them
  // Why nothing comes, to a reader who asks for that.
  void TellSilence(const std::optional<Silence>& silence);
  Silence Computing(std::int32_t computed) const;
  // What is in flight draws for nothing, and positions from `limit` on are not computed.
  void PassOver(std::int32_t limit);

  const RequestHandle handle_;
  const std::uint64_t arrival_step_;
  Peer* const peer_;
  const Request request_;
  const std::int32_t max_tokens_;
  std::shared_ptr<TokenStream> stream_;  // null once ended
  SequenceState state_ = SequenceState::kQueued;
  std::int32_t slot_ = -1;

  std::vector<std::int32_t> ids_;
  std::vector<std::int32_t> proposed_;
  std::int32_t computed_ = 0;
  std::int32_t lost_ = 0;  // the most that leaving made it forget
  std::int32_t draws_in_flight_ = 0;
  std::int32_t steps_in_flight_ = 0;
  std::uint32_t epoch_ = 0;
  PhaseMachine phase_;
  OutputPlan plan_;
  std::int32_t phase_begin_;  // index of phase()'s first id beyond the prompt, if there is one yet
  bool not_finite_ = false;
  std::int32_t preemptions_ = 0;
  bool preempted_ = false;
  bool began_ = false;
  std::int32_t admitted_length_ = 0;  // committed(), when it was last admitted
  ReaderPace reader_;

  std::vector<BlockHandle> blocks_;
  std::int32_t blocks_cached_ = 0;
  std::int32_t blocks_told_ = 0;
  bool sampling_told_ = false;
  bool masks_ = false;  // masks_think_end(), as it was told

  bool started_ = false;              // was admitted at least once
  std::int32_t queue_position_ = -1;  // last told; -1: none yet
};

}  // namespace thinkwire::worker::engine
