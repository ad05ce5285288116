#include "common/rpc/stream_contract.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/rpc/contract_errors.h"
#include "common/rpc/first_phase.h"
#include "common/rpc/num_outputs.h"
#include "common/rpc/phase_sampling.h"
#include "common/rpc/reasoning_ends.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

using Event = v1::GenerateResponse;

std::string NameOf(Event::EventCase event) {
  if (event == Event::EVENT_NOT_SET) return "nothing";
  return Event::descriptor()->FindFieldByNumber(event)->message_type()->name();
}

bool IsLogprob(float value) { return std::isfinite(value) && value <= 0; }

}  // namespace

StreamContract::Asked StreamContract::AskedOf(const v1::PhaseSampling& sampling) {
  return {.logprobs = sampling.logprobs(),
          .alternatives = sampling.top_logprobs(),
          .token_bytes = sampling.token_bytes(),
          .stop_strings = sampling.stop_strings_size() > 0,
          .stop_ids = sampling.stop_token_ids_size() > 0};
}

StreamContract::StreamContract(const v1::GenerateRequest& request)
    : reasoning_(AskedOf(InForce(request.sampling(), request.reasoning_sampling()))),
      answer_(AskedOf(InForce(request.sampling(), request.answer_sampling()))),
      asked_tokens_(request.max_tokens()),
      may_clamp_(request.clamp_max_tokens()),
      opens_turn_(MayBeUndecided(request)),
      ignore_eos_(request.ignore_eos()),
      has_seed_(request.has_seed()),
      seed_(request.seed()),
      has_consensus_(request.has_consensus()),
      asks_progress_(request.progress()),
      may_restart_(request.wishes().may_substitute()),
      prompt_tokens_(request.prompt().token_ids().ids_size()),
      outputs_(NumOutputs(request)) {}

StreamContract::Place StreamContract::PlaceOf(const v1::OutputState& state) {
  if (state.finished()) return Place::kFinished;
  if (state.token_ids().empty()) return Place::kBegun;
  if (state.phase() == v1::PHASE_ANSWER) return Place::kAnswer;
  return state.reasoning_finished() ? Place::kUnclosed : Place::kReasoning;
}

void StreamContract::Resume(const v1::ResumeState& state) {
  for (const v1::OutputState& sent : state.outputs()) {
    const auto index = static_cast<std::size_t>(sent.output_index());
    if (sent.output_index() < 0 || index >= outputs_.size()) continue;
    outputs_[index] = {.place = PlaceOf(sent),
                       .reasoning = sent.reasoning_tokens(),
                       .answer = sent.token_ids_size() - sent.reasoning_tokens(),
                       .last_id = sent.token_ids().empty() ? -1 : *sent.token_ids().rbegin(),
                       .text_bytes = sent.reasoning_text_bytes() + sent.answer_text_bytes()};
    forced_tokens_ += sent.forced_tokens();
  }
}

absl::Status StreamContract::Add(const Event& event) {
  now_ = event.event_case();
  RETURN_IF_ERROR(AddByKind(event));
  last_ = now_;
  return absl::OkStatus();
}

absl::Status StreamContract::AddByKind(const Event& event) {
  switch (event.event_case()) {
    case Event::kQueued:
      return AddQueued(event.queued());
    case Event::kStarted:
      return AddStarted(event.started());
    case Event::kReasoningDelta:
      return AddDelta(event.reasoning_delta(), reasoning_, Place::kReasoning, &Output::reasoning);
    case Event::kReasoningFinished:
      return AddReasoningFinished(event.reasoning_finished());
    case Event::kAnswerDelta:
      return AddDelta(event.answer_delta(), answer_, Place::kAnswer, &Output::answer);
    case Event::kFinished:
      return AddFinished(event.finished());
    case Event::kMoved:
      return AddMoved();
    case Event::kCompleted:
      return AddCompleted(event.completed());
    case Event::kProgress:
      return AddProgress(event.progress());
    case Event::kRestarted:
      return AddRestarted(event.restarted());
    case Event::EVENT_NOT_SET:
      break;
  }
  return Misplaced();
}

absl::Status StreamContract::End() const {
  return completed_ ? absl::OkStatus() : Wrong("OK came after ", NameOf(last_));
}

absl::Status StreamContract::Misplaced() const {
  return Wrong(NameOf(now_), " came after ", NameOf(last_));
}

absl::Status StreamContract::AddQueued(const v1::Queued& queued) {
  if (started_) return Misplaced();
  if (queued.position() < 0) return Wrong("Queued.position is ", queued.position());
  return ExpectTime("Queued.estimated_wait", queued.estimated_wait());
}

absl::Status StreamContract::AddStarted(const v1::Started& started) {
  if (started_) return Misplaced();
  started_ = true;
  return Begin(started);
}

absl::Status StreamContract::Begin(const v1::Started& started) {
  if (prompt_tokens_ > 0) {
    RETURN_IF_ERROR(Expect("Started.prompt_tokens", started.prompt_tokens(), prompt_tokens_));
  }
  prompt_tokens_ = started.prompt_tokens();
  cached_tokens_ = started.cached_prompt_tokens();
  if (prompt_tokens_ < 1 || *cached_tokens_ < 0 || *cached_tokens_ > prompt_tokens_) {
    return Wrong("Started.cached_prompt_tokens is ", *cached_tokens_, " of ", prompt_tokens_);
  }
  if (has_seed_ && started.seed() != seed_) return Wrong("Started.seed is another");
  if (started.fingerprint().empty() || started.fingerprint().size() > kMaxFingerprintBytes) {
    return Wrong("Started.fingerprint has ", started.fingerprint().size(), " bytes");
  }
  first_phase_ = started.first_phase();
  const bool undecided = first_phase_ == v1::PHASE_UNSPECIFIED;
  if (!v1::Phase_IsValid(first_phase_) || (undecided && !opens_turn_)) {
    return Wrong("Started.first_phase is ", static_cast<int>(first_phase_));
  }
  RETURN_IF_ERROR(CheckLimits(started));
  max_tokens_ = started.limits().max_tokens();
  vocab_size_ = started.limits().vocab_size();
  return absl::OkStatus();
}

absl::Status StreamContract::CheckLimits(const v1::Started& started) const {
  const v1::Limits& limits = started.limits();
  const std::int64_t all = std::int64_t{limits.max_tokens()} + started.prompt_tokens();
  if (limits.max_tokens() < 1 || all > limits.max_model_len()) {
    return Wrong("Started.limits.max_tokens is ", limits.max_tokens(), " of ",
                 limits.max_model_len(), " after a prompt of ", started.prompt_tokens());
  }
  const bool clamped = may_clamp_ && limits.max_tokens() < asked_tokens_;
  if (asked_tokens_ > 0 && limits.max_tokens() != asked_tokens_ && !clamped) {
    return Wrong("Started.limits.max_tokens is ", limits.max_tokens(), ", asked for were ",
                 asked_tokens_);
  }
  const v1::EffectiveOptions& effective = started.effective();
  if (std::max(effective.closing_token_ids_size(), effective.continue_token_ids_size()) >
      kMaxEventTokens) {
    return Wrong("Started.effective has more than ", kMaxEventTokens, " ids of a kind");
  }
  if (limits.vocab_size() < 1) return Wrong("Started.limits.vocab_size is ", limits.vocab_size());
  if (vocab_size_ > 0 && limits.vocab_size() != vocab_size_) {
    return Wrong("Started.limits.vocab_size is ", limits.vocab_size(), ", not ", vocab_size_);
  }
  return absl::OkStatus();
}

bool StreamContract::MayReason(const Output& output) const {
  return first_phase_ != v1::PHASE_ANSWER &&
         (output.place == Place::kBegun || output.place == Place::kReasoning);
}

bool StreamContract::MayAnswer(const Output& output) const {
  return output.place == Place::kClosed || output.place == Place::kAnswer ||
         (first_phase_ != v1::PHASE_REASONING && output.place == Place::kBegun);
}

bool StreamContract::MayFinish(const Output& output) const {
  return MayAnswer(output) || output.place == Place::kUnclosed || output.place == Place::kBegun;
}

template <class Event>
absl::Status StreamContract::Find(const Event& event, Output** output) {
  const auto index = static_cast<std::size_t>(event.output_index());
  if (!started_ || completed_) return Misplaced();
  if (event.output_index() < 0 || index >= outputs_.size()) {
    return Wrong(NameOf(now_), " is of output ", event.output_index(), " of ", outputs_.size());
  }
  *output = &outputs_[index];
  return absl::OkStatus();
}

template <class Event>
absl::Status StreamContract::CheckTokens(const Event& event, const Asked& phase) const {
  if (event.token_ids_size() > kMaxEventTokens) {
    return Wrong(NameOf(now_), " has ", event.token_ids_size(), " ids");
  }
  for (const std::int32_t id : event.token_ids()) {
    if (id >= 0 && id < vocab_size_) continue;
    return Wrong(NameOf(now_), " has the id ", id, ", the vocabulary ", vocab_size_);
  }
  RETURN_IF_ERROR(Expect("the number of log-probabilities", event.logprobs_size(),
                         phase.logprobs ? event.token_ids_size() : 0));
  for (const v1::TokenLogprob& token : event.logprobs()) {
    if (!IsLogprob(token.logprob())) return Wrong("a log-probability is ", token.logprob());
    RETURN_IF_ERROR(CheckTokenBytes(token, phase.token_bytes));
    RETURN_IF_ERROR(CheckAlternatives(token, phase.alternatives));
  }
  return absl::OkStatus();
}

absl::Status StreamContract::CheckTokenBytes(const v1::TokenLogprob& token, bool asked) {
  const auto size = std::ssize(token.token());
  if (token.silent_bytes() < 0 || token.silent_bytes() > size) {
    return Wrong("of the ", size, " bytes of a token ", token.silent_bytes(), " have no text");
  }
  const auto has_bytes = [](const auto& one) { return !one.token().empty(); };
  const bool came = has_bytes(token) || std::ranges::any_of(token.alternatives(), has_bytes);
  return !came || asked ? absl::OkStatus()
                        : Wrong("the bytes of a token came, which were not asked for");
}

absl::Status StreamContract::CheckAlternatives(const v1::TokenLogprob& token,
                                               std::int32_t most) const {
  if (token.alternatives_size() > most) {
    return Wrong(token.alternatives_size(), " alternatives came, asked for were ", most);
  }
  float before = 0;
  for (const v1::TokenAlternative& alternative : token.alternatives()) {
    const bool fits = alternative.token_id() >= 0 && alternative.token_id() < vocab_size_ &&
                      IsLogprob(alternative.logprob()) && alternative.logprob() <= before;
    if (!fits) {
      return Wrong("an alternative is ", alternative.token_id(), " at ", alternative.logprob(),
                   " after ", before);
    }
    before = alternative.logprob();
  }
  return absl::OkStatus();
}

// Adds the event's ids to `tokens`, one of the output's two counts.
template <class Event>
absl::Status StreamContract::Count(const Event& event, bool forced, Output& output,
                                   std::int32_t& tokens) {
  const std::int32_t count = event.token_ids_size();
  if (output.tokens() + count > max_tokens_) {
    return Wrong("the output has ", output.tokens() + count, " tokens, max_tokens is ",
                 max_tokens_);
  }
  tokens += count;
  if (forced) forced_tokens_ += count;
  if (count > 0) output.last_id = *event.token_ids().rbegin();
  return absl::OkStatus();
}

template <class Delta>
absl::Status StreamContract::AddDelta(const Delta& delta, const Asked& phase, Place place,
                                      std::int32_t Output::*tokens) {
  Output* output = nullptr;
  RETURN_IF_ERROR(Find(delta, &output));
  if (!(place == Place::kAnswer ? MayAnswer(*output) : MayReason(*output))) return Misplaced();
  output->place = place;
  const bool without_id = delta.token_ids().empty();
  if (without_id && delta.text().empty()) return Wrong(NameOf(now_), " is empty");
  if (without_id && output->without_id) return Wrong("a second ", NameOf(now_), " has no ids");
  output->without_id = without_id;
  RETURN_IF_ERROR(CheckTokens(delta, phase));
  RETURN_IF_ERROR(Count(delta, delta.forced(), *output, output->*tokens));
  output->text_bytes += static_cast<std::int64_t>(delta.text().size());
  if (output->text_bytes <= output->tokens() * kMaxTextBytesOfToken) return absl::OkStatus();
  return Wrong("the output has ", output->text_bytes, " bytes of text for ", output->tokens(),
               " tokens");
}

absl::Status StreamContract::AddReasoningFinished(const v1::ReasoningFinished& finished) {
  Output* output = nullptr;
  RETURN_IF_ERROR(Find(finished, &output));
  if (!MayReason(*output)) return Misplaced();
  RETURN_IF_ERROR(CheckTokens(finished, reasoning_));
  RETURN_IF_ERROR(Count(finished, finished.forced(), *output, output->reasoning));
  RETURN_IF_ERROR(CheckCause(finished, *output));
  output->cause = finished.cause();
  output->without_id = false;
  output->place = finished.token_ids().empty() ? Place::kUnclosed : Place::kClosed;
  return ExpectTime("ReasoningFinished.duration", finished.duration());
}

absl::Status StreamContract::CheckCause(const v1::ReasoningFinished& finished,
                                        const Output& output) const {
  const v1::ReasoningFinishCause cause = finished.cause();
  const bool closed = !finished.token_ids().empty();
  const bool may_be_either = may_end_unanswered_ && cause == v1::REASONING_FINISH_CAUSE_LOOP;
  const bool known = v1::ReasoningFinishCause_IsValid(cause) &&
                     cause != v1::REASONING_FINISH_CAUSE_UNSPECIFIED &&
                     (closed == IsClosed(cause) || may_be_either);
  if (!known || (closed && finished.forced() == (cause == v1::REASONING_FINISH_CAUSE_MODEL))) {
    return Wrong("ReasoningFinished.cause is ", static_cast<int>(cause), " with ",
                 finished.token_ids_size(), finished.forced() ? " forced ids" : " ids");
  }
  const int to_come = cause == v1::REASONING_FINISH_CAUSE_END_OF_SEQUENCE ? 1 : 0;
  return Expect("ReasoningFinished.reasoning_tokens", finished.reasoning_tokens(),
                std::int64_t{output.reasoning} + to_come);
}

absl::Status StreamContract::AddFinished(const v1::Finished& finished) {
  Output* output = nullptr;
  RETURN_IF_ERROR(Find(finished, &output));
  if (IsUnheard(finished, *output)) return AddUnheard(finished, *output);
  if (!MayFinish(*output)) return Misplaced();
  const bool answered = MayAnswer(*output);
  if (finished.phase() != (answered ? v1::PHASE_ANSWER : v1::PHASE_REASONING)) {
    return Wrong("Finished.phase is ", static_cast<int>(finished.phase()));
  }
  RETURN_IF_ERROR(CheckTokens(finished, answered ? answer_ : reasoning_));
  RETURN_IF_ERROR(CheckStop(finished, *output));
  RETURN_IF_ERROR(Count(finished, false, *output, answered ? output->answer : output->reasoning));
  RETURN_IF_ERROR(CheckReason(finished, *output));
  output->place = Place::kFinished;
  RETURN_IF_ERROR(Expect("Finished.tokens.reasoning_tokens", finished.tokens().reasoning_tokens(),
                         output->reasoning));
  return Expect("Finished.tokens.answer_tokens", finished.tokens().answer_tokens(), output->answer);
}

absl::Status StreamContract::CheckReason(const v1::Finished& finished, const Output& output) const {
  const v1::FinishReason reason = finished.reason();
  const bool known = v1::FinishReason_IsValid(reason) && reason != v1::FINISH_REASON_UNSPECIFIED &&
                     reason != v1::FINISH_REASON_NOT_NEEDED &&
                     (!HasCause(output) || Agree(output.cause, reason)) &&
                     finished.token_ids_size() == (reason == v1::FINISH_REASON_END ? 1 : 0) &&
                     !(ignore_eos_ && reason == v1::FINISH_REASON_END);
  if (!known) {
    return Wrong("Finished.reason is ", static_cast<int>(reason), " with ",
                 finished.token_ids_size(), " ids");
  }
  const bool may_be_short = may_end_unanswered_ && output.place == Place::kUnclosed;
  if (reason != v1::FINISH_REASON_LENGTH || may_be_short || output.tokens() == max_tokens_) {
    return absl::OkStatus();
  }
  return Wrong("the output has ", output.tokens(), " tokens, max_tokens is ", max_tokens_);
}

absl::Status StreamContract::CheckStop(const v1::Finished& finished, const Output& output) const {
  const Asked& phase = finished.phase() == v1::PHASE_ANSWER ? answer_ : reasoning_;
  const bool by_string = finished.reason() == v1::FINISH_REASON_STOP_STRING;
  if (by_string == finished.stop_string().empty() || (by_string && !phase.stop_strings)) {
    return Wrong("Finished.stop_string has ", finished.stop_string().size(), " bytes");
  }
  const bool by_id = finished.reason() == v1::FINISH_REASON_STOP_TOKEN;
  const bool right = !by_id || (phase.stop_ids && finished.stop_token_id() == output.last_id);
  if (by_id == finished.has_stop_token_id() && right) return absl::OkStatus();
  return Wrong("Finished.stop_token_id is ", finished.stop_token_id());
}

bool StreamContract::IsOver() const {
  return std::ranges::all_of(outputs_,
                             [](const Output& output) { return output.place == Place::kFinished; });
}

absl::Status StreamContract::AddCompleted(const v1::Completed& completed) {
  if (!started_ || completed_ || !IsOver()) return Misplaced();
  completed_ = true;
  RETURN_IF_ERROR(Expect("Completed.resumes", completed.resumes(), moves_));
  if (!has_consensus_) RETURN_IF_ERROR(Expect("the number of votes", completed.votes_size(), 0));
  const v1::Timings& timings = completed.timings();
  RETURN_IF_ERROR(ExpectTime("timings.queue", timings.queue()));
  RETURN_IF_ERROR(ExpectTime("timings.prefill", timings.prefill()));
  RETURN_IF_ERROR(ExpectTime("timings.reasoning", timings.reasoning()));
  RETURN_IF_ERROR(ExpectTime("timings.answer", timings.answer()));
  return CheckUsage(completed.usage());
}

absl::Status StreamContract::CheckUsage(const v1::Usage& usage) const {
  std::int64_t reasoning = 0;
  std::int64_t answer = 0;
  for (const Output& output : outputs_) {
    reasoning += output.reasoning;
    answer += output.answer;
  }
  RETURN_IF_ERROR(Expect("usage.prompt_tokens", usage.prompt_tokens(), prompt_tokens_));
  if (cached_tokens_) {
    RETURN_IF_ERROR(
        Expect("usage.cached_prompt_tokens", usage.cached_prompt_tokens(), *cached_tokens_));
  }
  RETURN_IF_ERROR(Expect("usage.reasoning_tokens", usage.reasoning_tokens(), reasoning));
  RETURN_IF_ERROR(Expect("usage.answer_tokens", usage.answer_tokens(), answer));
  RETURN_IF_ERROR(Expect("usage.forced_tokens", usage.forced_tokens(), forced_tokens_));
  if (usage.discarded_tokens() >= void_tokens_) return absl::OkStatus();
  return Wrong("usage.discarded_tokens is ", usage.discarded_tokens());
}

}  // namespace thinkwire::rpc
