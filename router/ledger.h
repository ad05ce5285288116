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

// What is known of one request as it runs, from the messages of its worker and, where a client goes
// on with it, from his word: enough for another worker to go on with it. Grows with the prompt and
// the outputs, by four bytes a token and what a vector holds in reserve: at most with the context
// of the worker's model, and of a worker that sends on and on with what fleet::WorkerAttempt lets
// through, 2^20 tokens an output. Threads: one at a time.
class Ledger {
 public:
  // Ids of an output that follow each other.
  struct ForcedRange {
    std::int32_t first;
    std::int32_t count;
  };

  // One output.
  struct Output {
    std::vector<std::int32_t> token_ids;      // all, in order, with the one that ended it
    v1::Phase phase = v1::PHASE_UNSPECIFIED;  // that the next token belongs to
    std::int32_t forced_tokens = 0;           // how many of the ids a limit put there
    std::vector<ForcedRange> forced_ranges;   // which, as far as they came here
    v1::ReasoningFinishCause reasoning_cause = v1::REASONING_FINISH_CAUSE_UNSPECIFIED;
    std::int32_t closing_position = 0;  // where that took effect
    std::int32_t reasoning_tokens = 0;  // how many of the ids count as reasoning
    // The time spent reasoning: as the worker says it once it is over, until then as seen here.
    Clock::Duration reasoning_time{};
    // How much text came; nullopt where who went on with the request did not say how much he had.
    std::optional<std::int64_t> reasoning_text_bytes = 0;
    std::optional<std::int64_t> answer_text_bytes = 0;
    bool reasoning_finished = false;
    bool finished = false;

   private:
    friend class Ledger;
    std::optional<Clock::TimePoint> reasoning_since_;
  };

  // Goes on from what somebody else knew. First of all.
  void Restore(const v1::ResumeState& state);

  // From now on this attempt speaks, and no earlier one.
  void BeginAttempt(std::int32_t attempt) { attempt_ = attempt; }

  // Who brought the latest has broken the contract: what came need not be what it says.
  void Doubt();

  // That of a request which begins anew, as the run whose ledger this is came to nothing: all that
  // it brought, and `discarded` tokens that its worker made beyond, count as discarded.
  Ledger MakeNext(std::int32_t discarded) const;

  // Takes the next message in, which came at `now`. False, and nothing has changed, if a later
  // attempt has begun already.
  // REQUIRES: the messages of an attempt come in order and without gaps, as fleet::WorkerAttempt
  // sees to it, and those of a later attempt go on where the state made at its beginning ends.
  bool Add(const v1::WorkerGenerateResponse& message, Clock::TimePoint now);

  // Whether the worker has told the prompt's ids: with its first message.
  bool has_prompt_ids() const { return !prompt_ids_.empty(); }
  const std::vector<std::int32_t>& prompt_ids() const { return prompt_ids_; }
  // Those that have begun, by their index.
  const std::map<std::int32_t, Output>& outputs() const { return outputs_; }
  std::int32_t attempt() const { return attempt_; }  // the latest; 0: none

  // Whether some attempt has begun with the request: a Started came.
  bool started() const { return started_; }
  // Whether all that came was made under the fingerprint of the first Started, as far as is known.
  bool exact() const { return exact_; }
  std::int64_t tokens() const;        // of all outputs
  std::int32_t num_finished() const;  // outputs
  // Of the runs before this one: discarded, and what their prompts had.
  std::int32_t void_tokens() const { return void_tokens_; }
  std::int64_t void_prompt_tokens() const { return void_prompt_tokens_; }
  std::int32_t cached_prompt_tokens() const { return cached_prompt_tokens_; }  // of the first
  // Under which all tokens were made, and the next are best made; empty: there is no such.
  const std::string& fingerprint() const { return fingerprint_; }
  // What the stream has brought of a Usage.
  v1::Usage MakeUsage() const;

  // Where another attempt would go on. Without a fingerprint if not all tokens were made under one.
  // Without the prompt's ids, if none are known, but with their number.
  v1::ResumeState MakeResumeState() const;

  // What it holds in memory. Called at each message.
  std::size_t bytes() const;

 private:
  void AddStarted(const v1::Started& started);
  void KeepEffective(const v1::EffectiveOptions& effective);
  void AddRestarted(const v1::Restarted& restarted);
  void AddEvent(const v1::GenerateResponse& event, Clock::TimePoint now);
  void AddReasoningFinished(const v1::ReasoningFinished& finished, Clock::TimePoint now);
  Output& OutputAt(std::int32_t index);

  std::int32_t attempt_ = 0;
  std::vector<std::int32_t> prompt_ids_;
  std::int32_t prompt_tokens_ = 0;
  std::int32_t cached_prompt_tokens_ = 0;          // of the first Started
  std::optional<v1::EffectiveOptions> effective_;  // likewise, or of whoever went on with it
  std::size_t effective_bytes_ = 0;                // what that takes, which is slow to count
  std::string fingerprint_;
  std::int32_t void_tokens_ = 0;
  std::int64_t void_prompt_tokens_ = 0;
  bool started_ = false;
  bool exact_ = true;
  v1::Phase first_phase_ = v1::PHASE_UNSPECIFIED;
  std::map<std::int32_t, Output> outputs_;
};

}  // namespace thinkwire::router
