#include "router/ledger.h"

#include "common/check.h"
#include "common/rpc/proto_time.h"

namespace thinkwire::router {
namespace {

using Ids = google::protobuf::RepeatedField<std::int32_t>;

void AddIds(const Ids& ids, bool forced, Ledger::Output& output) {
  output.token_ids.insert(output.token_ids.end(), ids.begin(), ids.end());
  if (forced) output.forced_tokens += ids.size();
}

v1::OutputState MakeOutputState(std::int32_t index, const Ledger::Output& output) {
  v1::OutputState state;
  state.set_output_index(index);
  state.mutable_token_ids()->Assign(output.token_ids.begin(), output.token_ids.end());
  state.set_phase(output.phase);
  state.set_forced_tokens(output.forced_tokens);
  state.set_reasoning_tokens(output.reasoning_tokens);
  if (output.reasoning_time > Clock::Duration::zero()) {
    rpc::SetDuration(output.reasoning_time, state.mutable_reasoning_duration());
  }
  return state;
}

}  // namespace

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
  } else if (event.has_reasoning_delta()) {
    const v1::ReasoningDelta& delta = event.reasoning_delta();
    Output& output = OutputAt(delta.output_index());
    AddIds(delta.token_ids(), delta.forced(), output);
    output.phase = v1::PHASE_REASONING;
    output.reasoning_tokens += delta.token_ids_size();
    if (!output.reasoning_since_) output.reasoning_since_ = now;
    output.reasoning_time = now - *output.reasoning_since_;
  } else if (event.has_reasoning_finished()) {
    AddReasoningFinished(event.reasoning_finished(), now);
  } else if (event.has_answer_delta()) {
    const v1::AnswerDelta& delta = event.answer_delta();
    Output& output = OutputAt(delta.output_index());
    AddIds(delta.token_ids(), delta.forced(), output);
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
  // Tokens that are here already were made under the earlier fingerprint.
  const bool mixed = !outputs_.empty() && started.fingerprint() != fingerprint_;
  fingerprint_ = mixed ? "" : started.fingerprint();
  first_phase_ = started.first_phase();
}

void Ledger::AddReasoningFinished(const v1::ReasoningFinished& finished, Clock::TimePoint now) {
  Output& output = OutputAt(finished.output_index());
  AddIds(finished.token_ids(), finished.forced(), output);
  output.reasoning_tokens += finished.token_ids_size();
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
  CHECK(has_prompt_ids(), "a worker has told the prompt's ids");
  v1::ResumeState state;
  state.mutable_prompt_ids()->Assign(prompt_ids_.begin(), prompt_ids_.end());
  for (const auto& [index, output] : outputs_)
    *state.add_outputs() = MakeOutputState(index, output);
  state.set_fingerprint(fingerprint_);
  return state;
}

std::size_t Ledger::bytes() const {
  std::size_t bytes = sizeof(*this) + prompt_ids_.capacity() * sizeof(std::int32_t);
  for (const auto& [index, output] : outputs_) {
    bytes += sizeof(output) + output.token_ids.capacity() * sizeof(std::int32_t);
  }
  return bytes;
}

}  // namespace thinkwire::router
