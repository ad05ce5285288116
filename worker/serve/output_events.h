#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/clock.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"
#include "worker/text/detokenizer.h"
#include "worker/text/stop_matcher.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::serve {

// Turns the tokens of one output into its typed events, from the first delta to Finished, and adds
// up what they cost.
//
// 1. Each id that counts is in exactly one event, in order; however the tokens are cut into
//    batches, the ids and the texts of a phase joined are the same.
// 2. No event carries two phases, nor ids that were drawn beside ids that were forced. The token
// that closes the thinking is reasoning and travels in
//    ReasoningFinished, the end-of-sequence id in Finished.
// 3. Ids do not wait for their text: text that may yet become a stop string, or a part of a
//    character, is held back and comes in a later event of the same phase.
// 4. A stop string ends the output at the token that completes it; later tokens are discarded.
//    Each phase has its own stop strings, which see that phase's text alone. A stop id, which the
//    engine finds, counts and travels in the last delta, but has no text and closes no thinking.
// 5. Line feeds right after the closing token have no text, and stop strings do not see them, but
//    where they belong to the answer's format. The
// same
//    goes for a token that opens the thinking, for undecided ones before it, and line feeds after
//    it.
// 6. Undecided tokens are held back, ids and all, until a token, or the end, says of which phase
//    they are.
// 7. Text is a pure function of the ids. So an output that an earlier worker began goes on from its
//    ids alone (Replay): joined with what was sent, its events are those of one that never moved.
//
// It knows no special ids: the tokens' marks and the ending's reason say what the engine saw.
// Threads: one at a time. Borrows the tokenizer, which must outlive it.
class OutputEvents {
 public:
  using Events = std::vector<v1::GenerateResponse>;

  struct Options {
    std::int32_t output_index = 0;
    step::Phase start_phase = step::Phase::kReasoning;
    bool is_undecided = false;  // kAnswer, unless the first token that is decided says otherwise
    step::PerPhase<std::vector<std::string>> stop_strings;
    step::PerPhase<bool> logprobs = {};
    step::PerPhase<std::int32_t> alternatives = {};  // at most the tokens'
    step::PerPhase<bool> token_bytes = {};           // beside log-probabilities
    bool keeps_line_feeds = false;  // at the answer's begin: they belong to its format
  };

  // How far an earlier worker had sent the output, besides its tokens.
  struct Sent {
    bool reasoning_finished = false;
    bool finished = false;
    std::int32_t forced_tokens = 0;
    Clock::Duration reasoning_duration = {};
    // Bytes of each phase's text. Unset: what its tokens have completed.
    step::PerPhase<std::optional<std::int64_t>> text_bytes = {};
    // Of end-of-sequence: said to have ended reasoning that was told to have ended so, should this
    // worker's model draw another one.
    std::int32_t end_id = -1;
  };

  // Of the whole output, whoever has sent it.
  struct Counts {
    step::PerPhase<std::int32_t> tokens = {};
    std::int32_t forced = 0;
    std::int32_t total() const {
      return tokens[step::Phase::kReasoning] + tokens[step::Phase::kAnswer];
    }
  };

  // Of the tokens that count and are this worker's own.
  struct Times {
    Clock::Duration earlier_reasoning = {};  // at earlier workers
    std::optional<Clock::TimePoint> first_token;
    std::optional<Clock::TimePoint> last_reasoning_token;
    std::optional<Clock::TimePoint> last_token;
  };

  OutputEvents(const text::Tokenizer& tokenizer, Options options);

  // Goes on from what was sent: before the first Add, each of the output's tokens is replayed,
  // which counts it and puts it in no event, and then EndReplay called. REQUIRES: not finished().
  void BeginReplay(const Sent& sent);
  void Replay(const engine::Token& token);

  // `end`: why the output ended with the last token, if it did. Then it is finished now, and what
  // of its events was not sent is TakeUnsent's. Fails: INVALID_ARGUMENT, which field of the
  // OutputState `field` the tokens contradict.
  absl::Status EndReplay(std::optional<engine::EndReason> end, const std::string& field);
  Events TakeUnsent() { return std::exchange(unsent_, {}); }

  // Appends to `events` what `tokens`, which came at `now`, are. Tokens after one that ends the
  // output, or after a stop string, are passed over.
  void Add(std::span<const engine::Token> tokens, Clock::TimePoint now, Events* events);

  // The engine ended the output, after the last token. Gives Finished where that was a natural end
  // (an end-of-sequence id, a stop id, no more room, a loop), unless a stop string had finished it
  // before. Else lets go of the text held back, so that what was drawn can be read; but not where
  // another worker may go on (kShutdown), which will say better what it is. REQUIRES: the last
  // token ends the output if the reason says that an id did.
  void End(engine::EndReason reason, Clock::TimePoint now, Events* events);

  // Whether Finished has been given. Before the engine's ending: the engine need not go on.
  bool finished() const { return finished_; }
  // Whether the next token may belong to the reasoning, as far as is known.
  bool may_reason() const {
    return !finished_ && (is_undecided_ || phase_ == step::Phase::kReasoning);
  }
  step::Phase phase() const { return phase_; }  // of the next token, or in which it ended
  const Counts& counts() const { return counts_; }
  const Times& times() const { return times_; }

 private:
  // A token in an event, and how many bytes from its first on have no text.
  struct Told {
    engine::Token token;
    std::size_t silent_bytes = std::string::npos;
  };

  struct Channel {  // the text of one phase
    text::Detokenizer detokenizer;
    text::StopMatcher matcher;
  };

  void AddToken(const engine::Token& token, Clock::TimePoint now, Events* events);
  void AddText(const engine::Token& token, Clock::TimePoint now, Events* events);
  void AddWithoutText(const engine::Token& token, Clock::TimePoint now, Events* events);
  // Into the growing delta, or one of its own where the one is forced and the other is not.
  void Keep(const engine::Token& token, Events* events);
  // The tokens held back are of `phase`.
  void Decide(step::Phase phase, Clock::TimePoint now, Events* events);
  void Count(const engine::Token& token, Clock::TimePoint now);
  // Returns how many bytes of it are left out, from the first on.
  std::size_t AppendText(std::string_view text);
  bool FlushText(Clock::TimePoint now, Events* events);
  void EmitDelta(Events* events);
  void CloseReasoning(v1::ReasoningFinishCause cause, const engine::Token* closing,
                      Clock::TimePoint now, Events* events);
  void Finish(v1::FinishReason reason, const engine::Token* last, Clock::TimePoint now,
              Events* events);
  void FinishAtStop(Clock::TimePoint now, Events* events);
  void FinishAtStopId(const engine::Token& token, Clock::TimePoint now, Events* events);
  void FinishForLimit(v1::FinishReason reason, Clock::TimePoint now, Events* events);
  void FinishAsTold(Clock::TimePoint now, Events* events);
  void ReleaseText(Events* events);
  void SkipSentText();
  void EndSkipping(step::Phase phase);
  bool IsSentWhole(step::Phase phase) const;  // the phase's text, as its end was sent
  // The reasoning was told to have ended by an end-of-sequence id, which is yet to come.
  bool OwesEnd() const {
    return !replaying_ && sent_.reasoning_finished && phase_ == step::Phase::kReasoning;
  }
  absl::Status CheckEndsSent(bool ended_by_id, const std::string& field) const;
  absl::Status CheckTextSent(step::Phase phase, const std::string& field) const;
  Channel& channel() { return channels_[phase_]; }
  // Sets the members that all events with tokens have.
  template <class Event>
  void SetTokens(std::span<const Told> tokens, Event* event) const;
  v1::TokenLogprob LogprobOf(const Told& told) const;
  template <class Event>
  void SetDelta(Event* event);

  const text::Tokenizer& tokenizer_;
  const Options options_;
  step::PerPhase<Channel> channels_;
  step::Phase phase_;
  bool is_undecided_;
  std::vector<engine::Token> undecided_;
  bool strip_line_feeds_ = false;
  std::optional<engine::Token> last_;  // ends the output, whose ending is yet to come
  bool finished_ = false;
  Counts counts_;
  Times times_;
  // The delta that grows until the batch or the phase ends.
  std::string text_;
  std::vector<Told> tokens_;
  // Of what an earlier worker has sent.
  Sent sent_;
  bool replaying_ = false;
  step::PerPhase<std::int64_t> bytes_to_skip_ = {};
  step::PerPhase<bool> splits_character_ = {};  // what was sent of the text ends within one
  Events unsent_;
};

}  // namespace thinkwire::worker::serve
