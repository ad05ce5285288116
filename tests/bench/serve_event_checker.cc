#include "tests/bench/serve_event_checker.h"

#include "absl/strings/str_cat.h"

namespace thinkwire::bench {
namespace {

using Event = v1::GenerateResponse;

}  // namespace

std::int32_t EventChecker::Add(const Event& event) {
  if (violations_.empty()) Note(contract_.Add(event));
  return CountTokens(event);
}

void EventChecker::Note(const absl::Status& status) {
  if (!status.ok()) violations_.emplace_back(status.message());
}

std::int32_t EventChecker::CountTokens(const Event& event) {
  const auto count = [](const auto& part, std::int64_t& tokens) {
    tokens += part.token_ids_size();
    return part.token_ids_size();
  };
  switch (event.event_case()) {
    case Event::kStarted:
      tokens_.prompt = event.started().prompt_tokens();
      tokens_.cached = event.started().cached_prompt_tokens();
      return 0;
    case Event::kReasoningDelta:
      return count(event.reasoning_delta(), tokens_.reasoning);
    case Event::kReasoningFinished:
      return count(event.reasoning_finished(), tokens_.reasoning);
    case Event::kAnswerDelta:
      return count(event.answer_delta(), tokens_.answer);
    case Event::kFinished:
      return count(event.finished(), event.finished().phase() == v1::PHASE_REASONING
                                         ? tokens_.reasoning
                                         : tokens_.answer);
    case Event::kCompleted:
      tokens_.discarded = event.completed().usage().discarded_tokens();
      return 0;
    default:
      return 0;
  }
}

void EventChecker::End(const absl::Status& status) {
  if (!violations_.empty()) return;
  if (status.ok()) return Note(contract_.End());
  // A cancel of ours, or the deadline, may overtake the end that the server has sent.
  if (contract_.completed() && !absl::IsCancelled(status) && !absl::IsDeadlineExceeded(status)) {
    violations_.push_back(
        absl::StrCat(absl::StatusCodeToString(status.code()), " came after Completed"));
  }
}

}  // namespace thinkwire::bench
