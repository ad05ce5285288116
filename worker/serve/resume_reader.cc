#include "worker/serve/resume_reader.h"

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

constexpr char kField[] = "resume.outputs[0]";  // there is one, as long as n is 1

std::string Field(const char* name) { return absl::StrCat(kField, ".", name); }

absl::Status CheckTokenIds(const std::vector<std::int32_t>& ids, const ServedModel& model,
                           const RequestReader::Reading& reading) {
  if (ids.size() > static_cast<std::size_t>(reading.max_tokens)) {
    return rpc::InvalidField(Field("token_ids"),
                             absl::StrCat("may hold at most ", reading.max_tokens,
                                          " ids, max_tokens or what the context of ",
                                          model.limits.context(), " leaves, holds ", ids.size()));
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < model.limits.vocab_size) continue;
    return rpc::InvalidField(absl::StrCat(Field("token_ids"), "[", i, "]"),
                             absl::StrCat("must be in [0, ", model.limits.vocab_size,
                                          "), the vocabulary of the model, is ", ids[i]));
  }
  return absl::OkStatus();
}

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

absl::Status Replay(const std::vector<std::int32_t>& ids, const ServedModel& model,
                    const RequestReader::Reading& reading, OutputEvents& events) {
  engine::Replay replay(reading.request, reading.max_tokens, model.end_of_sequence_ids);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (replay.end() || events.finished()) {
      return rpc::InvalidField(absl::StrCat(Field("token_ids"), "[", i, "]"),
                               "comes after the end of the output");
    }
    events.Replay(replay.Next(ids[i]));
  }
  return events.EndReplay(replay.end(), kField);
}

// The phase may be left out where nothing was sent, as nothing has said it then.
bool IsPhase(const v1::OutputState& state, Phase phase) {
  if (state.phase() == v1::PHASE_UNSPECIFIED) return state.token_ids().empty();
  return (state.phase() == v1::PHASE_REASONING) == (phase == Phase::kReasoning);
}

absl::Status CheckCounts(const v1::OutputState& state, const RequestReader::Reading& reading,
                         const OutputEvents& events) {
  if (events.counts().total() != state.token_ids_size()) {
    return rpc::InvalidField(Field("token_ids"), "go on after a stop string has ended the output");
  }
  if (!IsPhase(state, events.phase())) {
    return rpc::InvalidField(Field("phase"),
                             absl::StrCat("is ", v1::Phase_Name(state.phase()),
                                          ", which is not what the ids before give"));
  }
  const std::int32_t reasoning = events.counts().tokens[Phase::kReasoning];
  if (!state.finished() && state.reasoning_tokens() != reasoning) {
    return rpc::InvalidField(Field("reasoning_tokens"),
                             absl::StrCat("is ", state.reasoning_tokens(), ", of the ids ",
                                          reasoning, " belong to the reasoning"));
  }
  const bool unclosed = events.phase() == Phase::kReasoning && !events.finished();
  if (unclosed && state.reasoning_finished() && reading.request.ignore_eos) {
    return rpc::InvalidField(Field("reasoning_finished"),
                             "must be unset: the ids do not end the reasoning");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadOutputState(const v1::OutputState& state, const text::Tokenizer& tokenizer,
                             const ServedModel& model, RequestReader::Reading& reading) {
  std::vector<std::int32_t> ids(state.token_ids().begin(), state.token_ids().end());
  RETURN_IF_ERROR(CheckTokenIds(ids, model, reading));
  if (!ids.empty() && engine::LeaveUndecided(reading.request, ids)) {
    reading.request.opening.reset();
  }
  auto events = std::make_unique<OutputEvents>(tokenizer, reading.output);
  events->BeginReplay(SentOf(state, model));
  RETURN_IF_ERROR(Replay(ids, model, reading, *events));
  RETURN_IF_ERROR(CheckCounts(state, reading, *events));
  reading.request.drawn_ids = std::move(ids);
  reading.resumed = std::move(events);
  return absl::OkStatus();
}

}  // namespace thinkwire::worker::serve
