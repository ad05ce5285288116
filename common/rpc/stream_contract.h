#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {

// Holds one stream of Generate to what reasoning.proto promises, event by event, so that whoever
// reads it need not trust whoever sends it:
//
// 1. Queued*, Started, then of each output ReasoningDelta*, ReasoningFinished?, AnswerDelta*,
//    Finished; Completed last, when every output has finished. Moved anywhere after Started.
//    Progress, where it was asked for, anywhere before the last Finished but first. Restarted,
//    where another variant may stand in, as long as no output has come further than its reasoning,
//    at most kMaxRestarts times: what came before is discarded, and all begins again as after
//    Started. No reasoning where Started says that the answer comes first, no answer before the
//    reasoning is closed, and none where nothing closed it. Where Started leaves the first phase
//    open, which it may only where the prompt leaves the model's turn open, an output's first event
//    says it.
// 2. Started repeats what was asked: the prompt's length where that is known, the seed, the limits.
// 3. Ids are in the vocabulary of Started. Log-probabilities come one per id where they were asked
//    for, else not at all; they are numbers, and none is above 0.
// 4. ReasoningFinished, Finished and Completed say as many tokens as came. The id that
//    ReasoningFinished with the cause END_OF_SEQUENCE counts comes with Finished.
// 5. No output has more tokens than the limit; one that ended for its length has so many.
// 6. Finished says the phase, stop string and stop id that the events before it allow.
// 7. Enums have values that mean something, numbers and times are not negative.
// 8. An event has at most kMaxEventTokens ids, and the text of an output at most
//    kMaxTextBytesOfToken bytes for each id that came with it or before. No two deltas of an output
//    without ids follow each other in one phase: text that was held back is let go once.
// 9. Of a consensus, an output that did not win has one event, its Finished without ids, and counts
//    nowhere.
//
// A stream may go on where another one was lost: what that one has sent counts as if it had come
// here.
//
// Threads: one at a time.
class StreamContract {
 public:
  static constexpr int kMaxRestarts = 2;

  // Nothing of `request` is kept but numbers.
  explicit StreamContract(const v1::GenerateRequest& request);

  // What a caller knows beyond the request, which then must be what Started says. Before Started.
  void ExpectPromptTokens(std::int32_t tokens) { prompt_tokens_ = tokens; }
  void ExpectVocabSize(std::int32_t ids) { vocab_size_ = ids; }
  // The worker was told to end without an answer where it would close reasoning that goes in
  // circles or has no more room. Before Started.
  void MayEndUnanswered() { may_end_unanswered_ = true; }
  // The stream goes on from `state`, which may be anybody's word: outputs that the request does not
  // have are left out. Before Started.
  void Resume(const v1::ResumeState& state);

  // The next event. Fails: INTERNAL, what is wrong with it; nothing more may be added then.
  absl::Status Add(const v1::GenerateResponse& event);

  // The stream has ended with OK. Fails: INTERNAL, it may not.
  absl::Status End() const;

  bool started() const { return started_; }
  bool completed() const { return completed_; }
  // Of all outputs together.
  std::int64_t tokens() const;

 private:
  enum class Place : std::uint8_t {
    kBegun,
    kReasoning,
    kClosed,    // by an id: the answer may come
    kUnclosed,  // the reasoning is over, and so is the output: Finished is due
    kAnswer,
    kFinished,
  };
  struct Output {
    Place place = Place::kBegun;
    std::int32_t reasoning = 0;
    std::int32_t answer = 0;
    std::int32_t last_id = -1;
    std::int64_t text_bytes = 0;
    bool without_id = false;  // the last delta
    // In kUnclosed; not known there if another stream said it.
    v1::ReasoningFinishCause cause = v1::REASONING_FINISH_CAUSE_UNSPECIFIED;
    std::int64_t tokens() const { return std::int64_t{reasoning} + answer; }
  };
  // What was asked for a phase.
  struct Asked {
    bool logprobs = false;
    std::int32_t alternatives = 0;
    bool token_bytes = false;
    bool stop_strings = false;
    bool stop_ids = false;
  };

  static Asked AskedOf(const v1::PhaseSampling& sampling);
  static Place PlaceOf(const v1::OutputState& state);
  absl::Status AddByKind(const v1::GenerateResponse& event);
  absl::Status AddQueued(const v1::Queued& queued);
  absl::Status AddStarted(const v1::Started& started);
  // What Started and Restarted say alike.
  absl::Status Begin(const v1::Started& started);
  absl::Status CheckLimits(const v1::Started& started) const;
  // Of either phase: what was asked for there, and where its tokens are counted.
  template <class Delta>
  absl::Status AddDelta(const Delta& delta, const Asked& phase, Place place,
                        std::int32_t Output::*tokens);
  absl::Status AddReasoningFinished(const v1::ReasoningFinished& finished);
  absl::Status CheckCause(const v1::ReasoningFinished& finished, const Output& output) const;
  absl::Status AddFinished(const v1::Finished& finished);
  bool IsUnheard(const v1::Finished& finished, const Output& output) const;
  absl::Status AddUnheard(const v1::Finished& finished, Output& output);
  absl::Status CheckReason(const v1::Finished& finished, const Output& output) const;
  absl::Status CheckStop(const v1::Finished& finished, const Output& output) const;
  absl::Status AddMoved();
  absl::Status AddRestarted(const v1::Restarted& restarted);
  absl::Status AddProgress(const v1::Progress& progress) const;
  absl::Status AddCompleted(const v1::Completed& completed);
  absl::Status CheckUsage(const v1::Usage& usage) const;

  // The output of an event that may come where it is now; null: out of range, or it may not.
  template <class Event>
  absl::Status Find(const Event& event, Output** output);
  bool MayReason(const Output& output) const;
  bool MayAnswer(const Output& output) const;
  bool MayFinish(const Output& output) const;
  bool IsOver() const;  // every output has finished
  static bool HasCause(const Output& output) {
    return output.place == Place::kUnclosed &&
           output.cause != v1::REASONING_FINISH_CAUSE_UNSPECIFIED;
  }
  // Ids and log-probabilities of an event of `phase`.
  template <class Event>
  absl::Status CheckTokens(const Event& event, const Asked& phase) const;
  static absl::Status CheckTokenBytes(const v1::TokenLogprob& token, bool asked);
  absl::Status CheckAlternatives(const v1::TokenLogprob& token, std::int32_t most) const;
  template <class Event>
  absl::Status Count(const Event& event, bool forced, Output& output, std::int32_t& tokens);
  absl::Status Misplaced() const;

  const Asked reasoning_;
  const Asked answer_;
  const std::int32_t asked_tokens_;  // 0: the rest of the context
  const bool may_clamp_;
  const bool opens_turn_;  // the prompt may leave the first phase open
  const bool ignore_eos_;
  const bool has_seed_;
  const std::uint64_t seed_;
  const bool has_consensus_;
  const bool asks_progress_;
  const bool may_restart_;

  std::int32_t prompt_tokens_;  // 0: not known before Started, as the next
  std::int32_t vocab_size_ = 0;
  std::optional<std::int32_t> cached_tokens_;  // of the prompt, as Started says; Restarted does not
  std::int32_t max_tokens_ = 0;
  std::int32_t forced_tokens_ = 0;
  std::int32_t moves_ = 0;
  int restarts_ = 0;
  std::int64_t void_tokens_ = 0;  // that came before Restarted
  v1::Phase first_phase_ = v1::PHASE_UNSPECIFIED;
  bool may_end_unanswered_ = false;
  bool started_ = false;
  bool completed_ = false;
  std::vector<Output> outputs_;
  v1::GenerateResponse::EventCase last_ = v1::GenerateResponse::EVENT_NOT_SET;  // the one before
  v1::GenerateResponse::EventCase now_ = v1::GenerateResponse::EVENT_NOT_SET;
};

}  // namespace thinkwire::rpc
