#include "worker/serve/output_events.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/rpc/proto_time.h"

namespace thinkwire::worker::serve {
namespace {

using engine::EndReason;
using engine::Token;
using engine::TokenMark;
using step::Phase;

v1::ReasoningFinishCause CauseOf(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_END:
      return v1::REASONING_FINISH_CAUSE_END_OF_SEQUENCE;
    case v1::FINISH_REASON_STOP_STRING:
    case v1::FINISH_REASON_STOP_TOKEN:
      return v1::REASONING_FINISH_CAUSE_STOP;
    case v1::FINISH_REASON_LOOP:
      return v1::REASONING_FINISH_CAUSE_LOOP;
    default:
      return v1::REASONING_FINISH_CAUSE_LENGTH;
  }
}

v1::ReasoningFinishCause CauseOf(engine::TokenOrigin origin) {
  switch (origin) {
    case engine::TokenOrigin::kBudget:
      return v1::REASONING_FINISH_CAUSE_BUDGET;
    case engine::TokenOrigin::kLoop:
      return v1::REASONING_FINISH_CAUSE_LOOP;
    case engine::TokenOrigin::kAnswerNow:
      return v1::REASONING_FINISH_CAUSE_ANSWER_NOW;
    case engine::TokenOrigin::kDeadline:
      return v1::REASONING_FINISH_CAUSE_DEADLINE;
    case engine::TokenOrigin::kDrawn:
    case engine::TokenOrigin::kContinued:
    case engine::TokenOrigin::kFormat:
      break;
  }
  return v1::REASONING_FINISH_CAUSE_MODEL;
}

bool IsForced(const Token& token) { return token.origin != engine::TokenOrigin::kDrawn; }

}  // namespace

template <class Event>
void OutputEvents::SetTokens(std::span<const Told> tokens, Event* event) const {
  for (const Told& told : tokens) {
    event->add_token_ids(told.token.id);
    if (options_.logprobs[phase_]) *event->add_logprobs() = LogprobOf(told);
  }
}

v1::TokenLogprob OutputEvents::LogprobOf(const Told& told) const {
  const bool with_bytes = options_.token_bytes[phase_];
  v1::TokenLogprob logprob;
  logprob.set_logprob(told.token.logprob);
  // Beside a token that was not drawn there are none.
  const auto most = static_cast<std::size_t>(options_.alternatives[phase_]);
  const auto number = std::min(most, told.token.alternatives.size());
  for (const step::Alternative& alternative : std::span(told.token.alternatives).first(number)) {
    v1::TokenAlternative& out = *logprob.add_alternatives();
    out.set_token_id(alternative.id);
    out.set_logprob(alternative.logprob);
    if (with_bytes) out.set_token(std::string(tokenizer_.TokenBytes(alternative.id)));
  }
  if (with_bytes) {
    const std::string_view bytes = tokenizer_.TokenBytes(told.token.id);
    logprob.set_token(std::string(bytes));
    const std::size_t silent = std::min(told.silent_bytes, bytes.size());
    logprob.set_silent_bytes(static_cast<std::int32_t>(silent));
  }
  return logprob;
}

template <class Event>
void OutputEvents::SetDelta(Event* event) {
  event->set_output_index(options_.output_index);
  event->set_text(std::move(text_));
  SetTokens(tokens_, event);
  event->set_forced(!tokens_.empty() && IsForced(tokens_.front().token));
}

OutputEvents::OutputEvents(const text::Tokenizer& tokenizer, Options options)
    : tokenizer_(tokenizer),
      options_(std::move(options)),
      channels_{Channel{text::Detokenizer(tokenizer),
                        text::StopMatcher(options_.stop_strings[Phase::kReasoning])},
                Channel{text::Detokenizer(tokenizer),
                        text::StopMatcher(options_.stop_strings[Phase::kAnswer])}},
      phase_(options_.start_phase),
      is_undecided_(options_.is_undecided) {}

void OutputEvents::Add(std::span<const Token> tokens, Clock::TimePoint now, Events* events) {
  for (const Token& token : tokens) {
    if (finished_ || last_) return;
    AddToken(token, now, events);
  }
  EmitDelta(events);
}

void OutputEvents::AddToken(const Token& token, Clock::TimePoint now, Events* events) {
  if (token.mark == TokenMark::kUndecided) return undecided_.push_back(token);
  if (is_undecided_) Decide(token.phase, now, events);
  if (finished_) return;
  if (OwesEnd() && token.mark != TokenMark::kEndsOutput) return FinishAsTold(now, events);
  CHECK(token.phase == phase_, "a token of another phase than the one before it allows");
  if (token.mark == TokenMark::kText) return AddText(token, now, events);
  if (token.mark == TokenMark::kOpensReasoning) {
    strip_line_feeds_ = true;
    return AddWithoutText(token, now, events);
  }
  // A broken character before it becomes U+FFFD, which a stop string could hold.
  if (FlushText(now, events)) return;
  Count(token, now);
  if (token.mark == TokenMark::kEndsOutput) {
    last_ = token;
  } else {
    CloseReasoning(CauseOf(token.origin), &token, now, events);
  }
}

void OutputEvents::AddText(const Token& token, Clock::TimePoint now, Events* events) {
  AddWithoutText(token, now, events);
  std::string text;
  channel().detokenizer.Append(token.id, &text);
  const std::size_t left_out = AppendText(text);
  if (!replaying_ && !tokenizer_.IsSpecial(token.id)) tokens_.back().silent_bytes = left_out;
  if (channel().matcher.has_matched()) FinishAtStop(now, events);
}

void OutputEvents::AddWithoutText(const Token& token, Clock::TimePoint now, Events* events) {
  Count(token, now);
  Keep(token, events);
}

void OutputEvents::Keep(const Token& token, Events* events) {
  if (replaying_) return;
  if (!tokens_.empty() && IsForced(tokens_.back().token) != IsForced(token)) EmitDelta(events);
  tokens_.push_back({.token = token});
}

void OutputEvents::Decide(Phase phase, Clock::TimePoint now, Events* events) {
  is_undecided_ = false;
  phase_ = phase;
  for (const Token& token : std::exchange(undecided_, {})) {
    if (finished_) return;
    phase == Phase::kReasoning ? AddWithoutText(token, now, events) : AddText(token, now, events);
  }
}

void OutputEvents::Count(const Token& token, Clock::TimePoint now) {
  ++counts_.tokens[phase_];
  if (replaying_) return;
  if (IsForced(token)) ++counts_.forced;
  if (!times_.first_token) times_.first_token = now;
  if (phase_ == Phase::kReasoning) times_.last_reasoning_token = now;
  times_.last_token = now;
}

std::size_t OutputEvents::AppendText(std::string_view text) {
  std::size_t left_out = 0;
  if (strip_line_feeds_) {
    left_out = std::min(text.find_first_not_of('\n'), text.size());
    if (left_out == text.size()) return left_out;
    text.remove_prefix(left_out);
    strip_line_feeds_ = false;
  }
  text_ += channel().matcher.Push(text).emit;
  return left_out;
}

// Ends the phase's text; true if that completed a stop string, and then the output has finished.
bool OutputEvents::FlushText(Clock::TimePoint now, Events* events) {
  std::string text;
  channel().detokenizer.Flush(&text);
  AppendText(text);
  if (channel().matcher.has_matched()) {
    FinishAtStop(now, events);
    return true;
  }
  text_ += channel().matcher.Flush();
  return false;
}

void OutputEvents::EmitDelta(Events* events) {
  SkipSentText();
  if (text_.empty() && tokens_.empty()) return;
  v1::GenerateResponse& event = events->emplace_back();
  if (phase_ == Phase::kReasoning) {
    SetDelta(event.mutable_reasoning_delta());
  } else {
    SetDelta(event.mutable_answer_delta());
  }
  text_.clear();
  tokens_.clear();
}

// `closing` is the token that closed it, null where none did.
void OutputEvents::CloseReasoning(v1::ReasoningFinishCause cause, const Token* closing,
                                  Clock::TimePoint now, Events* events) {
  EmitDelta(events);
  v1::ReasoningFinished& event = *events->emplace_back().mutable_reasoning_finished();
  event.set_output_index(options_.output_index);
  event.set_cause(cause);
  event.set_reasoning_tokens(counts_.tokens[Phase::kReasoning]);
  rpc::SetDuration(times_.earlier_reasoning + (now - times_.first_token.value_or(now)),
                   event.mutable_duration());
  if (closing != nullptr) {
    const Told told{.token = *closing};
    SetTokens({&told, 1}, &event);
    event.set_forced(IsForced(*closing));
    phase_ = Phase::kAnswer;
    strip_line_feeds_ = !options_.keeps_line_feeds;
  }
}

// `last` is the end-of-sequence token, null where none ended it.
void OutputEvents::Finish(v1::FinishReason reason, const Token* last, Clock::TimePoint now,
                          Events* events) {
  if (phase_ == Phase::kReasoning && counts_.total() > 0 && !OwesEnd()) {
    CloseReasoning(CauseOf(reason), nullptr, now, events);
  }
  EmitDelta(events);
  v1::Finished& event = *events->emplace_back().mutable_finished();
  event.set_output_index(options_.output_index);
  event.set_reason(reason);
  event.set_phase(phase_ == Phase::kReasoning ? v1::PHASE_REASONING : v1::PHASE_ANSWER);
  event.mutable_tokens()->set_reasoning_tokens(counts_.tokens[Phase::kReasoning]);
  event.mutable_tokens()->set_answer_tokens(counts_.tokens[Phase::kAnswer]);
  if (last != nullptr) {
    const Told told{.token = *last};
    SetTokens({&told, 1}, &event);
  }
  finished_ = true;
}

void OutputEvents::FinishAtStop(Clock::TimePoint now, Events* events) {
  const auto index = static_cast<std::size_t>(channel().matcher.Push("").matched);
  const auto& stops = options_.stop_strings[phase_];
  Finish(v1::FINISH_REASON_STOP_STRING, nullptr, now, events);
  events->back().mutable_finished()->set_stop_string(stops[index]);
}

void OutputEvents::FinishAtStopId(const Token& token, Clock::TimePoint now, Events* events) {
  Keep(token, events);
  Finish(v1::FINISH_REASON_STOP_TOKEN, nullptr, now, events);
  events->back().mutable_finished()->set_stop_token_id(token.id);
}

void OutputEvents::FinishForLimit(v1::FinishReason reason, Clock::TimePoint now, Events* events) {
  if (FlushText(now, events)) return;
  Finish(reason, nullptr, now, events);
}

// Another model than the one that drew the end of the sequence would go on.
void OutputEvents::FinishAsTold(Clock::TimePoint now, Events* events) {
  const Token end{.id = sent_.end_id, .mark = TokenMark::kEndsOutput};
  Count(end, now);
  Finish(v1::FINISH_REASON_END, &end, now, events);
}

void OutputEvents::End(EndReason reason, Clock::TimePoint now, Events* events) {
  if (reason == EndReason::kShutdown) return;
  if (is_undecided_) Decide(Phase::kAnswer, now, events);
  if (finished_) return;
  const bool by_id = reason == EndReason::kEndOfSequence || reason == EndReason::kStopId;
  CHECK(by_id == last_.has_value(), "the id that ends an output comes before its ending");
  if (by_id && OwesEnd()) {
    if (reason == EndReason::kStopId) last_->id = sent_.end_id;
    return Finish(v1::FINISH_REASON_END, &*last_, now, events);
  }
  switch (reason) {
    case EndReason::kEndOfSequence:
      return Finish(v1::FINISH_REASON_END, &*last_, now, events);
    case EndReason::kStopId:
      return FinishAtStopId(*last_, now, events);
    case EndReason::kLength:
      return FinishForLimit(v1::FINISH_REASON_LENGTH, now, events);
    case EndReason::kLoop:
      return FinishForLimit(v1::FINISH_REASON_LOOP, now, events);
    default:
      return ReleaseText(events);
  }
}

void OutputEvents::ReleaseText(Events* events) {
  std::string text;
  channel().detokenizer.Flush(&text);
  AppendText(text);
  text_ += channel().matcher.Flush();
  EmitDelta(events);
}

}  // namespace thinkwire::worker::serve
