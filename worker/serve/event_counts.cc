// ResponseStream: what the metrics are told of its events.
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "worker/serve/response_stream.h"

namespace thinkwire::worker::serve {
namespace {

// FINISH_REASON_STOP_STRING as "stop_string".
std::string FinishLabel(v1::FinishReason reason) {
  return absl::AsciiStrToLower(absl::StripPrefix(v1::FinishReason_Name(reason), "FINISH_REASON_"));
}

// Likewise of why reasoning ended.
std::string CauseLabel(v1::ReasoningFinishCause cause) {
  return absl::AsciiStrToLower(
      absl::StripPrefix(v1::ReasoningFinishCause_Name(cause), "REASONING_FINISH_CAUSE_"));
}

}  // namespace

void ResponseStream::Count(const v1::GenerateResponse& event) {
  if (event.has_finished()) shared_.metrics.CountFinish(FinishLabel(event.finished().reason()));
  if (event.has_reasoning_finished()) {
    const v1::ReasoningFinished& finished = event.reasoning_finished();
    shared_.metrics.CountReasoningEnd(CauseLabel(finished.cause()));
    if (finished.forced()) shared_.metrics.CountForced(finished.token_ids_size());
  }
  if (event.reasoning_delta().forced()) {
    shared_.metrics.CountForced(event.reasoning_delta().token_ids_size());
  }
  if (event.answer_delta().forced()) {
    shared_.metrics.CountForcedByFormat(event.answer_delta().token_ids_size());
  }
}

}  // namespace thinkwire::worker::serve
