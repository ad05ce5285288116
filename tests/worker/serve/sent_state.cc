#include "tests/worker/serve/sent_state.h"

namespace thinkwire::worker::serve {
namespace {

// So many ids that come next.
void AddForced(int count, v1::OutputState& output) {
  if (count == 0) return;
  auto& ranges = *output.mutable_forced_ranges();
  const int first = output.token_ids_size();
  if (ranges.empty() || ranges.rbegin()->first() + ranges.rbegin()->count() < first) {
    ranges.Add()->set_first(first);
  }
  ranges.rbegin()->set_count(ranges.rbegin()->count() + count);
  output.set_forced_tokens(output.forced_tokens() + count);
}

template <class Event>
void AddIds(const Event& event, bool reasoning, v1::OutputState& output) {
  if constexpr (requires { event.forced(); }) {
    if (event.forced()) AddForced(event.token_ids_size(), output);
  }
  output.mutable_token_ids()->MergeFrom(event.token_ids());
  if (reasoning) output.set_reasoning_tokens(output.reasoning_tokens() + event.token_ids_size());
}

void AddReasoningFinished(const v1::ReasoningFinished& event, v1::OutputState& output) {
  AddIds(event, true, output);
  output.set_reasoning_finished(true);
  *output.mutable_reasoning_duration() = event.duration();
  output.set_phase(event.token_ids().empty() ? v1::PHASE_REASONING : v1::PHASE_ANSWER);
}

std::int32_t IndexOf(const v1::GenerateResponse& event) {
  if (event.has_reasoning_delta()) return event.reasoning_delta().output_index();
  if (event.has_answer_delta()) return event.answer_delta().output_index();
  if (event.has_reasoning_finished()) return event.reasoning_finished().output_index();
  return event.finished().output_index();
}

v1::OutputState& OutputAt(std::int32_t index, v1::Phase first_phase, v1::ResumeState& state) {
  for (v1::OutputState& output : *state.mutable_outputs()) {
    if (output.output_index() == index) return output;
  }
  v1::OutputState& output = *state.add_outputs();
  output.set_output_index(index);
  output.set_phase(first_phase);
  return output;
}

void Add(const v1::GenerateResponse& event, v1::OutputState& output) {
  if (event.has_reasoning_delta()) {
    const v1::ReasoningDelta& delta = event.reasoning_delta();
    AddIds(delta, true, output);
    output.set_phase(v1::PHASE_REASONING);
    output.set_reasoning_text_bytes(output.reasoning_text_bytes() +
                                    static_cast<std::int64_t>(delta.text().size()));
  } else if (event.has_answer_delta()) {
    const v1::AnswerDelta& delta = event.answer_delta();
    AddIds(delta, false, output);
    output.set_phase(v1::PHASE_ANSWER);
    output.set_answer_text_bytes(output.answer_text_bytes() +
                                 static_cast<std::int64_t>(delta.text().size()));
  } else if (event.has_reasoning_finished()) {
    AddReasoningFinished(event.reasoning_finished(), output);
  } else if (event.has_finished()) {
    AddIds(event.finished(), event.finished().phase() == v1::PHASE_REASONING, output);
    output.set_finished(true);
    output.set_phase(event.finished().phase());
  }
}

}  // namespace

v1::ResumeState StateAfter(const std::vector<std::int32_t>& prompt_ids, v1::Phase first_phase,
                           std::span<const v1::GenerateResponse> events) {
  v1::ResumeState state;
  state.mutable_prompt_ids()->Assign(prompt_ids.begin(), prompt_ids.end());
  state.add_outputs()->set_phase(first_phase);
  for (const v1::GenerateResponse& event : events) {
    Add(event, OutputAt(IndexOf(event), first_phase, state));
  }
  return state;
}

}  // namespace thinkwire::worker::serve
