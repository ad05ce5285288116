#include "worker/serve/resume_reader.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "worker/engine/replay.h"
#include "worker/serve/output_events.h"

namespace thinkwire::worker::serve {
namespace {

using step::Phase;

OutputEvents::Sent SentOf(const v1::OutputState& state, const ServedModel& model) {
  OutputEvents::Sent sent{
      .reasoning_finished = state.reasoning_finished(),
      .finished = state.finished(),
      .forced_tokens = state.forced_tokens(),
      .reasoning_duration = rpc::ReadDuration(state.reasoning_duration()),
  };
  if (!model.end_of_sequence_ids.empty()) sent.end_id = model.end_of_sequence_ids.front();
  if (state.has_reasoning_text_bytes()) {
    sent.text_bytes[Phase::kReasoning] = state.reasoning_text_bytes();
  }
  if (state.has_answer_text_bytes()) sent.text_bytes[Phase::kAnswer] = state.answer_text_bytes();
  return sent;
}

// By id: whether the state says that it was forced.
std::vector<bool> ForcedOf(const v1::OutputState& state) {
  std::vector<bool> forced(static_cast<std::size_t>(state.token_ids_size()));
  for (const v1::TokenRange& range : state.forced_ranges()) {
    std::fill_n(forced.begin() + range.first(), range.count(), true);
  }
  return forced;
}

engine::TokenOrigin OriginOf(v1::ReasoningFinishCause cause) {
  switch (cause) {
    case v1::REASONING_FINISH_CAUSE_LOOP:
      return engine::TokenOrigin::kLoop;
    case v1::REASONING_FINISH_CAUSE_ANSWER_NOW:
      return engine::TokenOrigin::kAnswerNow;
    case v1::REASONING_FINISH_CAUSE_DEADLINE:
      return engine::TokenOrigin::kDeadline;
    default:
      return engine::TokenOrigin::kBudget;
  }
}

bool IsFromOutside(v1::ReasoningFinishCause cause) {
  return cause == v1::REASONING_FINISH_CAUSE_ANSWER_NOW ||
         cause == v1::REASONING_FINISH_CAUSE_DEADLINE;
}

// How many ids from `first` on, which were forced, stand in the place of a think-end id.
std::int32_t NumContinued(const std::vector<std::int32_t>& ids, std::int32_t first,
                          std::int32_t end, const engine::Thinking& thinking) {
  std::int32_t at = first;
  const auto most = static_cast<std::int32_t>(thinking.continue_ids.size());
  while (most > 0 && at < end && at < thinking.min_tokens) {
    const std::int32_t count = std::min(most, end - at);
    const auto from = ids.begin() + at;
    if (!std::equal(from, from + count, thinking.continue_ids.begin())) break;
    at += count;
  }
  return at - first;
}

// Nobody has said yet what closes the reasoning from outside.
engine::TokenOrigin LikelyOrigin(const engine::Thinking& thinking) {
  return thinking.ends_in_time ? engine::TokenOrigin::kDeadline : engine::TokenOrigin::kAnswerNow;
}

// How many ids come before the answer, as far as it has begun.
std::int32_t AnswerBegin(const std::vector<std::int32_t>& ids, const engine::Request& request) {
  engine::PhaseMachine phase = engine::StartOf(request);
  std::int32_t count = 0;
  for (const std::int32_t id : ids) {
    if (phase.phase() == Phase::kAnswer && !phase.undecided()) break;
    phase.Next(id);
    ++count;
  }
  return count;
}

// The phase may be left out where nothing was sent, as nothing has said it then.
bool IsPhase(const v1::OutputState& state, Phase phase) {
  if (state.phase() == v1::PHASE_UNSPECIFIED) return state.token_ids().empty();
  return (state.phase() == v1::PHASE_REASONING) == (phase == Phase::kReasoning);
}

// Reads one state.
class StateReader {
 public:
  // `reading` has the prompt and the options; all outlive this.
  StateReader(const v1::OutputState& state, std::string field, const ServedModel& model,
              const RequestReader::Reading& reading)
      : state_(state),
        field_(std::move(field)),
        model_(model),
        output_(reading.output),
        max_tokens_(reading.max_tokens),
        ids_(state.token_ids().begin(), state.token_ids().end()),
        request_(reading.request) {
    output_.output_index = state.output_index();
  }

  absl::StatusOr<RequestReader::Begun> Read(const text::Tokenizer& tokenizer) {
    RETURN_IF_ERROR(CheckTokenIds());
    if (!ids_.empty() && engine::LeaveUndecided(request_, ids_)) request_.opening.reset();
    auto events = std::make_unique<OutputEvents>(tokenizer, std::move(output_));
    events->BeginReplay(SentOf(state_, model_));
    ReadEvents();
    RETURN_IF_ERROR(Replay(*events));
    RETURN_IF_ERROR(CheckCounts(*events));
    request_.drawn_ids = std::move(ids_);
    return RequestReader::Begun{.request = std::move(request_), .events = std::move(events)};
  }

 private:
  std::string Field(const char* name) const { return absl::StrCat(field_, ".", name); }

  absl::Status CheckTokenIds() const;
  void ReadEvents();
  bool IsPlanned(std::int32_t position) const;
  absl::Status CheckClosing(const engine::Replay& replay) const;
  absl::Status Replay(OutputEvents& events) const;
  absl::Status CheckCounts(const OutputEvents& events) const;

  const v1::OutputState& state_;
  const std::string field_;
  const ServedModel& model_;
  OutputEvents::Options output_;
  const std::int32_t max_tokens_;
  std::vector<std::int32_t> ids_;
  engine::Request request_;
};

absl::Status StateReader::CheckTokenIds() const {
  if (ids_.size() > static_cast<std::size_t>(max_tokens_)) {
    return rpc::InvalidField(
        Field("token_ids"),
        absl::StrCat("may hold at most ", max_tokens_, " ids, max_tokens or what the context of ",
                     model_.limits.context(), " leaves, holds ", ids_.size()));
  }
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (ids_[i] >= 0 && ids_[i] < model_.limits.vocab_size) continue;
    return rpc::InvalidField(absl::StrCat(Field("token_ids"), "[", i, "]"),
                             absl::StrCat("must be in [0, ", model_.limits.vocab_size,
                                          "), the vocabulary of the model, is ", ids_[i]));
  }
  return absl::OkStatus();
}

// What the ids do not tell: which of the forced ones stand in the place of a think-end id, and
// where something outside has closed the reasoning.
void StateReader::ReadEvents() {
  engine::Thinking& thinking = request_.thinking;
  const std::int32_t answer = AnswerBegin(ids_, request_);
  if (IsFromOutside(state_.reasoning_cause())) {
    thinking.closing = {.position = state_.closing_position(),
                        .origin = OriginOf(state_.reasoning_cause())};
  }
  for (const v1::TokenRange& range : state_.forced_ranges()) {
    if (range.first() >= answer) return;  // there the format alone forces
    const std::int32_t end = range.first() + range.count();
    const std::int32_t continued = NumContinued(ids_, range.first(), end, thinking);
    if (continued > 0) thinking.continued.push_back({range.first(), continued});
    const std::int32_t closing = range.first() + continued;
    if (closing == end || state_.reasoning_cause() != 0) continue;
    if (!IsPlanned(closing)) {
      thinking.closing = {.position = closing, .origin = LikelyOrigin(thinking)};
    }
    return;  // after what closes the reasoning nothing is forced but by the format
  }
}

// Whether the ids before `position` alone make the engine force the next one.
bool StateReader::IsPlanned(std::int32_t position) const {
  engine::Replay replay(request_, max_tokens_, model_.end_of_sequence_ids);
  for (std::int32_t i = 0; i < position && !replay.end(); ++i) {
    replay.Next(ids_[static_cast<std::size_t>(i)]);
  }
  return replay.closing().has_value();
}

absl::Status StateReader::CheckClosing(const engine::Replay& replay) const {
  if (state_.reasoning_cause() == 0) return absl::OkStatus();
  const engine::Closing said{.position = state_.closing_position(),
                             .origin = OriginOf(state_.reasoning_cause())};
  if (replay.closing() == said) return absl::OkStatus();
  return rpc::InvalidField(
      Field("closing_position"),
      absl::StrCat("is ", said.position, ", where the ids and the options let ",
                   "nothing close the reasoning for that cause"));
}

absl::Status StateReader::Replay(OutputEvents& events) const {
  const std::vector<bool> forced = ForcedOf(state_);
  engine::Replay replay(request_, max_tokens_, model_.end_of_sequence_ids);
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (replay.end() || events.finished()) {
      return rpc::InvalidField(absl::StrCat(Field("token_ids"), "[", i, "]"),
                               "comes after the end of the output");
    }
    const engine::Token token = replay.Next(ids_[i]);
    const bool is_forced = token.origin != engine::TokenOrigin::kDrawn;
    if (replay.contradicts() || (!state_.forced_ranges().empty() && forced[i] != is_forced)) {
      return rpc::InvalidField(absl::StrCat(Field("token_ids"), "[", i, "]"),
                               "is not what the options and forced_ranges let stand there");
    }
    events.Replay(token);
  }
  RETURN_IF_ERROR(CheckClosing(replay));
  return events.EndReplay(replay.end(), field_);
}

absl::Status StateReader::CheckCounts(const OutputEvents& events) const {
  if (events.counts().total() != state_.token_ids_size()) {
    return rpc::InvalidField(Field("token_ids"), "go on after a stop string has ended the output");
  }
  if (!IsPhase(state_, events.phase())) {
    return rpc::InvalidField(Field("phase"),
                             absl::StrCat("is ", v1::Phase_Name(state_.phase()),
                                          ", which is not what the ids before give"));
  }
  const std::int32_t reasoning = events.counts().tokens[Phase::kReasoning];
  if (!state_.finished() && state_.reasoning_tokens() != reasoning) {
    return rpc::InvalidField(Field("reasoning_tokens"),
                             absl::StrCat("is ", state_.reasoning_tokens(), ", of the ids ",
                                          reasoning, " belong to the reasoning"));
  }
  const bool unclosed = events.phase() == Phase::kReasoning && !events.finished();
  if (unclosed && state_.reasoning_finished() && request_.ignore_eos) {
    return rpc::InvalidField(Field("reasoning_finished"),
                             "must be unset: the ids do not end the reasoning");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadOutputStates(const v1::ResumeState& resume, const text::Tokenizer& tokenizer,
                              const ServedModel& model, RequestReader::Reading& reading) {
  for (int i = 0; i < resume.outputs_size(); ++i) {
    const v1::OutputState& state = resume.outputs(i);
    StateReader reader(state, absl::StrCat("resume.outputs[", i, "]"), model, reading);
    ASSIGN_OR_RETURN(RequestReader::Begun begun, reader.Read(tokenizer));
    reading.begun.emplace(state.output_index(), std::move(begun));
  }
  return absl::OkStatus();
}

absl::Status CheckResumable(std::int64_t prompt_tokens, std::int64_t outputs,
                            std::int64_t max_tokens) {
  const std::int64_t tokens = prompt_tokens + outputs * max_tokens;
  if (tokens <= kMaxResumableTokens) return absl::OkStatus();
  return rpc::WithMetadata(
      rpc::Error(absl::StatusCode::kFailedPrecondition, "NOT_RESUMABLE",
                 absl::StrCat("require_resumable: ", prompt_tokens, " tokens of the prompt and ",
                              outputs, " outputs of max_tokens ", max_tokens, " may come to ",
                              tokens, ", and another worker can be told ", kMaxResumableTokens)),
      "field", outputs > 1 ? "n" : "max_tokens");
}

}  // namespace thinkwire::worker::serve
