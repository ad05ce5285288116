#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router {

// What is known of one request as it runs, from the messages of its worker: enough for another
// worker to go on with it. Grows with the prompt and the outputs, by four bytes a token and what a
// vector holds in reserve: at most with the context of the worker's model, and of a worker that
// sends on and on with what fleet::WorkerAttempt lets through, 2^20 tokens an output.
// Threads: one at a time.
class Ledger {
 public:
  // One output.
  struct Output {
    std::vector<std::int32_t> token_ids;      // all, in order, with the one that ended it
    v1::Phase phase = v1::PHASE_UNSPECIFIED;  // that the next token belongs to
    std::int32_t forced_tokens = 0;           // how many of the ids a limit put there
    std::int32_t reasoning_tokens = 0;        // how many of the ids count as reasoning
    // The time spent reasoning: as the worker says it once it is over, until then as seen here.
    Clock::Duration reasoning_time{};
    bool finished = false;

   private:
    friend class Ledger;
    std::optional<Clock::TimePoint> reasoning_since_;
  };

  // Takes the next message in, which came at `now`. False, and nothing has changed, if a later
  // attempt has spoken already.
  // REQUIRES: the messages of an attempt come in order and without gaps, as fleet::WorkerAttempt
  // sees to it, and those of a later attempt go on where the state made at its beginning ends.
  bool Add(const v1::WorkerGenerateResponse& message, Clock::TimePoint now);

  // Whether the worker has told the prompt's ids: with its first message.
  bool has_prompt_ids() const { return !prompt_ids_.empty(); }
  const std::vector<std::int32_t>& prompt_ids() const { return prompt_ids_; }
  // Those that have begun, by their index.
  const std::map<std::int32_t, Output>& outputs() const { return outputs_; }
  std::int32_t attempt() const { return attempt_; }  // the latest that spoke; 0: none

  // Where another attempt would go on. Without a fingerprint if not all tokens were made under one.
  // REQUIRES: has_prompt_ids().
  v1::ResumeState MakeResumeState() const;

  // What it holds in memory.
  std::size_t bytes() const;

 private:
  void AddStarted(const v1::Started& started);
  void AddEvent(const v1::GenerateResponse& event, Clock::TimePoint now);
  void AddReasoningFinished(const v1::ReasoningFinished& finished, Clock::TimePoint now);
  Output& OutputAt(std::int32_t index);

  std::int32_t attempt_ = 0;
  std::vector<std::int32_t> prompt_ids_;
  std::string fingerprint_;
  v1::Phase first_phase_ = v1::PHASE_UNSPECIFIED;
  std::map<std::int32_t, Output> outputs_;
};

}  // namespace thinkwire::router
