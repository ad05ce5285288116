#include "router/ledger.h"

#include <algorithm>

#include "common/rpc/proto_time.h"

namespace thinkwire::router {
namespace {

using Ids = google::protobuf::RepeatedField<std::int32_t>;

void AddIds(const Ids& ids, bool forced, Ledger::Output& output) {
  const auto first = static_cast<std::int32_t>(output.token_ids.size());
  output.token_ids.insert(output.token_ids.end(), ids.begin(), ids.end());
  if (!forced || ids.empty()) return;
  output.forced_tokens += ids.size();
  std::vector<Ledger::ForcedRange>& ranges = output.forced_ranges;
  if (!ranges.empty() && ranges.back().first + ranges.back().count == first) {
    ranges.back().count += ids.size();
  } else {
    ranges.push_back({.first = first, .count = ids.size()});
  }
}

// Of a delta; `bytes` is one of the output's two counts.
template <class Delta>
void AddDelta(const Delta& delta, Ledger::Output& output, std::optional<std::int64_t>& bytes) {
  AddIds(delta.token_ids(), delta.forced(), output);
  if (bytes) *bytes += static_cast<std::int64_t>(delta.text().size());
}

std::optional<std::int64_t> BytesIf(bool said, std::int64_t bytes) {
  return said ? std::optional(bytes) : std::nullopt;
}

Ledger::Output ReadOutputState(const v1::OutputState& state) {
  Ledger::Output output;
  output.token_ids.assign(state.token_ids().begin(), state.token_ids().end());
  output.phase = state.phase();
  output.forced_tokens = state.forced_tokens();
  for (const v1::TokenRange& range : state.forced_ranges()) {
    output.forced_ranges.push_back({.first = range.first(), .count = range.count()});
  }
  output.reasoning_cause = state.reasoning_cause();
  output.closing_position = state.closing_position();
  output.reasoning_tokens = state.reasoning_tokens();
  output.reasoning_time = rpc::ReadDuration(state.reasoning_duration());
  output.reasoning_text_bytes =
      BytesIf(state.has_reasoning_text_bytes(), state.reasoning_text_bytes());
  output.answer_text_bytes = BytesIf(state.has_answer_text_bytes(), state.answer_text_bytes());
  output.reasoning_finished = state.reasoning_finished();
  output.finished = state.finished();
  return output;
}

// Whoever went on with the request may have said only how many they were.
bool KnowsForced(const Ledger::Output& output) {
  std::int32_t known = 0;
  for (const Ledger::ForcedRange& range : output.forced_ranges) known += range.count;
  return known == output.forced_tokens;
}

void AddForcedRanges(const Ledger::Output& output, v1::OutputState& state) {
  for (const Ledger::ForcedRange& range : output.forced_ranges) {
    v1::TokenRange& out = *state.add_forced_ranges();
    out.set_first(range.first);
    out.set_count(range.count);
  }
}

v1::OutputState MakeOutputState(std::int32_t index, const Ledger::Output& output) {
  v1::OutputState state;
  state.set_output_index(index);
  state.mutable_token_ids()->Assign(output.token_ids.begin(), output.token_ids.end());
  state.set_phase(output.phase);
  state.set_forced_tokens(output.forced_tokens);
  if (KnowsForced(output)) AddForcedRanges(output, state);
  if (output.reasoning_cause != v1::REASONING_FINISH_CAUSE_UNSPECIFIED) {
    state.set_reasoning_cause(output.reasoning_cause);
    state.set_closing_position(output.closing_position);
  }
  state.set_reasoning_tokens(output.reasoning_tokens);
  if (output.reasoning_time > Clock::Duration::zero()) {
    rpc::SetDuration(output.reasoning_time, state.mutable_reasoning_duration());
  }
  if (output.reasoning_text_bytes) state.set_reasoning_text_bytes(*output.reasoning_text_bytes);
  if (output.answer_text_bytes) state.set_answer_text_bytes(*output.answer_text_bytes);
  state.set_reasoning_finished(output.reasoning_finished);
  state.set_finished(output.finished);
  return state;
}

}  // namespace

void Ledger::Restore(const v1::ResumeState& state) {
  prompt_ids_.assign(state.prompt_ids().begin(), state.prompt_ids().end());
  prompt_tokens_ = state.prompt_tokens();
  fingerprint_ = state.fingerprint();
  if (state.has_effective()) KeepEffective(state.effective());
  for (const v1::OutputState& output : state.outputs()) {
    outputs_.insert_or_assign(output.output_index(), ReadOutputState(output));
  }
}

void Ledger::Doubt() {
  exact_ = false;
  fingerprint_.clear();
}

Ledger Ledger::MakeNext(std::int32_t discarded) const {
  Ledger next;
  next.attempt_ = attempt_;
  next.void_tokens_ = void_tokens_ + static_cast<std::int32_t>(tokens()) + discarded;
  next.void_prompt_tokens_ = void_prompt_tokens_ + prompt_tokens_;
  return next;
}

bool Ledger::Add(const v1::WorkerGenerateResponse& message, Clock::TimePoint now) {
  if (message.attempt() < attempt_) return false;
  attempt_ = message.attempt();
  if (!has_prompt_ids() && message.has_prompt_ids()) {
    const Ids& ids = message.prompt_ids().ids();
    prompt_ids_.assign(ids.begin(), ids.end());
  }
  AddEvent(message.event(), now);
  return true;
}

void Ledger::AddEvent(const v1::GenerateResponse& event, Clock::TimePoint now) {
  if (event.has_started()) {
    AddStarted(event.started());
  } else if (event.has_restarted()) {
    AddRestarted(event.restarted());
  } else if (event.has_reasoning_delta()) {
    const v1::ReasoningDelta& delta = event.reasoning_delta();
    Output& output = OutputAt(delta.output_index());
    AddDelta(delta, output, output.reasoning_text_bytes);
    output.phase = v1::PHASE_REASONING;
    output.reasoning_tokens += delta.token_ids_size();
    if (!output.reasoning_since_) output.reasoning_since_ = now - output.reasoning_time;
    output.reasoning_time = now - *output.reasoning_since_;
  } else if (event.has_reasoning_finished()) {
    AddReasoningFinished(event.reasoning_finished(), now);
  } else if (event.has_answer_delta()) {
    const v1::AnswerDelta& delta = event.answer_delta();
    Output& output = OutputAt(delta.output_index());
    AddDelta(delta, output, output.answer_text_bytes);
    output.phase = v1::PHASE_ANSWER;
  } else if (event.has_finished()) {
    Output& output = OutputAt(event.finished().output_index());
    AddIds(event.finished().token_ids(), false, output);
    if (event.finished().phase() == v1::PHASE_REASONING) {
      output.reasoning_tokens += event.finished().token_ids_size();
    }
    output.finished = true;
  }
}

void Ledger::AddStarted(const v1::Started& started) {
  const bool other = started.fingerprint() != fingerprint_;
  if (started_ && other) exact_ = false;
  if (!started_) cached_prompt_tokens_ = started.cached_prompt_tokens();
  if (!effective_ && started.has_effective()) KeepEffective(started.effective());
  started_ = true;
  // Tokens that are here already were made under the earlier fingerprint.
  fingerprint_ = other && !outputs_.empty() ? "" : started.fingerprint();
  first_phase_ = started.first_phase();
  prompt_tokens_ = started.prompt_tokens();
}

void Ledger::KeepEffective(const v1::EffectiveOptions& effective) {
  effective_ = effective;
  effective_bytes_ = effective_->SpaceUsedLong();
}

// As a client has it, for whom that is the next run's Started.
void Ledger::AddRestarted(const v1::Restarted& restarted) {
  v1::Started started;
  started.set_fingerprint(restarted.fingerprint());
  started.set_first_phase(restarted.first_phase());
  started.set_prompt_tokens(restarted.prompt_tokens());
  if (restarted.has_effective()) *started.mutable_effective() = restarted.effective();
  *this = MakeNext(0);
  AddStarted(started);
}

void Ledger::AddReasoningFinished(const v1::ReasoningFinished& finished, Clock::TimePoint now) {
  Output& output = OutputAt(finished.output_index());
  AddIds(finished.token_ids(), finished.forced(), output);
  output.reasoning_tokens += finished.token_ids_size();
  output.reasoning_finished = true;
  // Where nothing closed it, no answer follows.
  if (finished.token_ids_size() > 0) output.phase = v1::PHASE_ANSWER;
  if (finished.has_duration()) {
    output.reasoning_time = rpc::ReadDuration(finished.duration());
  } else if (output.reasoning_since_) {
    output.reasoning_time = now - *output.reasoning_since_;
  }
}

Ledger::Output& Ledger::OutputAt(std::int32_t index) {
  const auto [found, is_new] = outputs_.try_emplace(index);
  if (is_new) found->second.phase = first_phase_;
  return found->second;
}

v1::ResumeState Ledger::MakeResumeState() const {
  v1::ResumeState state;
  state.mutable_prompt_ids()->Assign(prompt_ids_.begin(), prompt_ids_.end());
  if (!has_prompt_ids()) state.set_prompt_tokens(prompt_tokens_);
  for (const auto& [index, output] : outputs_)
    *state.add_outputs() = MakeOutputState(index, output);
  state.set_fingerprint(fingerprint_);
  if (effective_) *state.mutable_effective() = *effective_;
  return state;
}

std::int32_t Ledger::num_finished() const {
  return static_cast<std::int32_t>(
      std::ranges::count_if(outputs_, [](const auto& entry) { return entry.second.finished; }));
}

std::int64_t Ledger::tokens() const {
  std::int64_t tokens = 0;
  for (const auto& [index, output] : outputs_) {
    tokens += static_cast<std::int64_t>(output.token_ids.size());
  }
  return tokens;
}

v1::Usage Ledger::MakeUsage() const {
  v1::Usage usage;
  usage.set_prompt_tokens(prompt_tokens_);
  usage.set_cached_prompt_tokens(cached_prompt_tokens_);
  for (const auto& [index, output] : outputs_) {
    const auto all = static_cast<std::int32_t>(output.token_ids.size());
    usage.set_reasoning_tokens(usage.reasoning_tokens() + output.reasoning_tokens);
    usage.set_answer_tokens(usage.answer_tokens() + all - output.reasoning_tokens);
    usage.set_forced_tokens(usage.forced_tokens() + output.forced_tokens);
  }
  usage.set_discarded_tokens(void_tokens_);
  return usage;
}

std::size_t Ledger::bytes() const {
  std::size_t bytes =
      sizeof(*this) + prompt_ids_.capacity() * sizeof(std::int32_t) + effective_bytes_;
  for (const auto& [index, output] : outputs_) {
    bytes += sizeof(output) + output.token_ids.capacity() * sizeof(std::int32_t) +
             output.forced_ranges.capacity() * sizeof(ForcedRange);
  }
  return bytes;
}

}  // namespace thinkwire::router
