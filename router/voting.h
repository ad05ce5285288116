#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/rpc/shares.h"
#include "router/consensus/answer_normaliser.h"
#include "router/consensus/vote.h"
#include "router/held_events.h"
#include "router/ledger.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router {

// What the outputs of a consensus may hold until they have voted. Over: RESOURCE_EXHAUSTED.
inline constexpr std::size_t kMaxHeldBytes = std::size_t{32} << 20;      // of a request
inline constexpr std::size_t kMaxAllHeldBytes = std::size_t{512} << 20;  // of all, by rpc::Shares

// The outputs of one request with a consensus: holds their events back until they have voted
// (consensus::Vote), and then has what the client is sent. A worker draws the outputs as those of
// any request with several (`n`), knows of no vote, and may be lost: what it has brought is here.
//
// Of an output that ended by itself, with an answer, the answer's text is its vote
// (consensus::NormaliseAnswer); who ended for its length or a loop, or in its reasoning, has none.
// Events of outputs that cannot win any more are dropped at once, so that it holds those that run
// and one for each different answer.
// Owns: the events, of kMaxHeldBytes at most, counted among those of the process.
// Threads: one at a time.
class Voting {
 public:
  // `request` as the client sent it. `all` counts what requests hold together, by `peer`, and
  // outlives this; null: nobody counts. REQUIRES: request.has_consensus().
  Voting(const v1::GenerateRequest& request, rpc::Shares* all, const std::string& peer);

  // Makes what workers are asked for of what the client has.
  static void AskForOutputs(v1::GenerateRequest& request);

  // Whether it is for this to say when the client sees such an event.
  static bool Holds(const v1::GenerateResponse& event);

  // The next event of a worker. REQUIRES: Holds(event), and that the vote is not over but for a
  // Completed.
  // Fails: RESOURCE_EXHAUSTED, HELD_TOO_MUCH: there is no room for it, in the request or among all;
  // nothing may be added then.
  absl::Status Add(const v1::GenerateResponse& event, Clock::TimePoint now);

  // What it holds, and as much more once its events were taken.
  std::size_t bytes() const { return bytes_; }
  bool is_over() const { return vote_.is_over(); }
  bool all_have_ended() const { return num_ended_ == outputs_.size(); }

  // REQUIRES of all that follows: it is over.

  std::int32_t winner() const { return static_cast<std::int32_t>(vote_.winner()); }
  // The winner's events; then of each other output its Finished, without ids, by the ledger where
  // it has not ended. Once.
  HeldEvents TakeEvents(const Ledger& ledger);
  // Without times.
  v1::Completed MakeCompleted(const Ledger& ledger) const;
  // Between the winner's first token of the answer and its last; nullopt: there was none.
  std::optional<Clock::Duration> answer_time() const;

  // How it came about, in a word for metrics: "agreement" (the share that was asked for, before all
  // had ended), "certain" (more could not change it), "all" (all had ended), "no_answer" (nobody
  // had one).
  std::string_view outcome() const;
  // What became of that output, likewise: "winner", "agreed", "differed", "no_answer",
  // "not_needed".
  std::string_view FateOf(std::size_t output) const;
  std::size_t num_outputs() const { return outputs_.size(); }

  // When the first event of an output came; nullopt: none has.
  std::optional<Clock::TimePoint> began() const { return began_; }

 private:
  struct Output {
    HeldEvents events{};
    std::optional<v1::Finished> finished{};
    std::optional<Clock::TimePoint> answer_began{};
    Clock::TimePoint answer_ended{};
  };

  void AddFinished(const v1::Finished& finished);
  std::optional<std::string> AnswerOf(const Output& output) const;
  void DropLosers();
  absl::Status CountBytes(std::size_t before, const HeldEvents& events);
  v1::GenerateResponse MakeFinished(std::size_t index, const Ledger& ledger) const;

  const consensus::AnswerKind kind_;
  std::vector<Output> outputs_;
  consensus::Vote vote_;
  std::size_t num_ended_ = 0;
  std::int32_t discarded_tokens_ = 0;  // that the worker drew beyond the ends of outputs
  std::optional<Clock::TimePoint> began_;
  std::size_t bytes_ = 0;  // of all outputs' events
  const rpc::Shares* const all_;
  std::optional<rpc::Shares::Held> counted_;  // nullopt: nobody counts
};

}  // namespace thinkwire::router
