#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "worker/engine/block_pool.h"
#include "worker/engine/phase.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"
#include "worker/engine/token_stream.h"

namespace thinkwire::worker::engine {

enum class SequenceState : std::uint8_t {
  kQueued,   // no slot, no blocks
  kRunning,  // has a slot and blocks
  kLeaving,  // preempted: keeps both until its steps in flight are collected, then kQueued
  kEnded,    // its stream has its ending: keeps both until its steps in flight are collected
};

// One output's progress.
// Committed are the ids that the host knows: prompt and drawn. Computed are the positions whose
// inputs were handed to the runner, whether or not that step was collected. Invariants:
// (1) computed <= committed + draws_in_flight;
// (2) draws_in_flight > 0 only when computed == committed + draws_in_flight - 1, that is, the
//     next input is the id that is being drawn;
// (3) the blocks cover every computed position;
// (4) the first blocks_cached blocks are in the prefix cache, each after the one before it, and are
//     not written to; the others are this sequence's alone.
// Threads: the engine thread.
class Sequence {
 public:
  // `max_tokens` as CheckRequest gave it.
  Sequence(RequestHandle handle, Request request, std::int32_t max_tokens,
           std::shared_ptr<TokenStream> stream);

  RequestHandle handle() const { return handle_; }  // ascending in order of arrival
  const Request& request() const { return request_; }
  const std::vector<std::int32_t>& ids() const { return ids_; }
  std::int32_t committed() const { return static_cast<std::int32_t>(ids_.size()); }
  std::int32_t computed() const { return computed_; }
  std::int32_t draws_in_flight() const { return draws_in_flight_; }
  std::int32_t steps_in_flight() const { return steps_in_flight_; }
  std::int32_t generated() const { return generated_; }
  step::Phase phase() const { return phase_.phase(); }  // of the token after the committed ones

  // The committed ids that penalties count: of the prompt, if any of them does, and those drawn in
  // phase().
  std::span<const std::int32_t> counted_prompt() const;
  std::span<const std::int32_t> counted_draws() const;

  // At most one input is left to compute: what follows it can be drawn in one row of one token.
  bool decoding() const { return computed_ + 1 >= committed(); }

  // The token limit leaves something to draw beyond what is in flight.
  bool MayDraw() const { return generated_ + draws_in_flight_ < max_tokens_; }
  bool reached_max_tokens() const { return generated_ >= max_tokens_; }

  // How many of the next `count` inputs were computed before, and lost with their blocks.
  std::int32_t RecomputedOf(std::int32_t count) const;

  // A row of `count` inputs was handed to the runner.
  void OnSubmitted(std::int32_t count, std::int32_t draws);
  // The oldest row in flight was collected.
  void OnCollected(std::int32_t draws);
  // `id` was drawn. Its mark says whether it closes the reasoning; whether it ends the output is
  // not known here.
  Token Commit(std::int32_t id, float logprob);

  void AddBlock(BlockHandle block) { blocks_.push_back(std::move(block)); }
  // Adds a block whose `tokens` were computed before. REQUIRES: all blocks so far are such.
  void AddCachedBlock(BlockHandle block, std::int32_t tokens);
  // Exchanges a block for one that holds the same. Returns the old one, which steps in flight may
  // still name.
  BlockHandle ReplaceBlock(std::int32_t index, BlockHandle block);
  std::int32_t block(std::int32_t index) const {
    return blocks_[static_cast<std::size_t>(index)].block();
  }
  std::int32_t num_blocks() const { return static_cast<std::int32_t>(blocks_.size()); }

  // Takes the last block away; nothing once there is none. REQUIRES: steps_in_flight() == 0.
  std::optional<BlockHandle> TakeLastBlock();
  // Forgets what was computed and told. REQUIRES: no blocks are left.
  void Reset();

  // Told by the scheduler, which alone changes them.
  SequenceState state = SequenceState::kQueued;
  std::int32_t slot = -1;
  std::int32_t blocks_told = 0;             // of the blocks, known to the runner
  std::int32_t blocks_cached = 0;           // of the blocks, in the prefix cache
  bool sampling_told = false;               // the slot's sampling parameters, likewise
  bool started = false;                     // was admitted at least once
  bool not_finite = false;                  // met a NaN or infinity
  std::int32_t preemptions = 0;             // times the blocks were lost
  std::int32_t queue_position = -1;         // last reported to the stream; -1: none yet
  std::optional<Clock::TimePoint> full_at;  // since when the stream has had no room
  std::shared_ptr<TokenStream> stream;      // null once ended

 private:
  const RequestHandle handle_;
  const Request request_;
  const std::int32_t max_tokens_;
  std::vector<std::int32_t> ids_;
  std::int32_t computed_ = 0;
  std::int32_t lost_ = 0;  // the most that Release made it forget
  std::int32_t draws_in_flight_ = 0;
  std::int32_t steps_in_flight_ = 0;
  std::int32_t generated_ = 0;
  PhaseMachine phase_;
  std::int32_t phase_begin_;  // index of phase()'s first drawn id, if it has one yet
  std::vector<BlockHandle> blocks_;
};

}  // namespace thinkwire::worker::engine
