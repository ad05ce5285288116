#include "tests/bench/serve_event_checker.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace thinkwire::bench {
namespace {

using Event = v1::GenerateResponse;

constexpr std::size_t kMaxViolations = 4;

const char* NameOf(Event::EventCase event) {
  switch (event) {
    case Event::kQueued:
      return "Queued";
    case Event::kStarted:
      return "Started";
    case Event::kReasoningDelta:
      return "ReasoningDelta";
    case Event::kReasoningFinished:
      return "ReasoningFinished";
    case Event::kAnswerDelta:
      return "AnswerDelta";
    case Event::kFinished:
      return "Finished";
    case Event::kMoved:
      return "Moved";
    case Event::kCompleted:
      return "Completed";
    case Event::EVENT_NOT_SET:
      break;
  }
  return "nothing";
}

}  // namespace

EventChecker::EventChecker(const v1::GenerateRequest& request)
    : prompt_ids_(request.prompt().token_ids().ids_size()),
      max_tokens_(request.max_tokens()),
      ignore_eos_(request.ignore_eos()) {}

std::int32_t EventChecker::Add(const Event& event) {
  const std::optional<Place> next = Next(event);
  if (next) {
    place_ = *next;
  } else if (!std::exchange(order_broken_, true)) {
    Violate(absl::StrCat(NameOf(event.event_case()), " came after ", NameOf(last_)));
  }
  last_ = event.event_case();
  return CountTokens(event);
}

std::optional<EventChecker::Place> EventChecker::Next(const Event& event) const {
  const auto from = [](Place place, bool fits) {
    return fits ? std::optional<Place>(place) : std::nullopt;
  };
  const bool reasons = (place_ == Place::kStarted && !answer_first_) || place_ == Place::kReasoning;
  const bool answers = (place_ == Place::kStarted && answer_first_) || place_ == Place::kReasoned ||
                       place_ == Place::kAnswer;
  switch (event.event_case()) {
    case Event::kQueued:
      return from(place_, place_ == Place::kBeforeStart);
    case Event::kStarted:
      return from(Place::kStarted, place_ == Place::kBeforeStart);
    case Event::kReasoningDelta:
      return from(Place::kReasoning, reasons);
    case Event::kReasoningFinished:
      return from(Place::kReasoned, reasons);
    case Event::kAnswerDelta:
      return from(Place::kAnswer, answers);
    case Event::kFinished:
      return from(Place::kFinished, answers);
    case Event::kMoved:
      return from(place_, started() && place_ != Place::kCompleted);
    case Event::kCompleted:
      return from(Place::kCompleted, place_ == Place::kFinished);
    case Event::EVENT_NOT_SET:
      break;
  }
  return std::nullopt;
}

std::int32_t EventChecker::CountTokens(const Event& event) {
  switch (event.event_case()) {
    case Event::kStarted:
      OnStarted(event.started());
      return 0;
    case Event::kReasoningDelta:
      tokens_.reasoning += event.reasoning_delta().token_ids_size();
      return event.reasoning_delta().token_ids_size();
    case Event::kReasoningFinished:
      tokens_.reasoning += event.reasoning_finished().token_ids_size();
      Expect("ReasoningFinished.reasoning_tokens", event.reasoning_finished().reasoning_tokens(),
             tokens_.reasoning);
      return event.reasoning_finished().token_ids_size();
    case Event::kAnswerDelta:
      tokens_.answer += event.answer_delta().token_ids_size();
      return event.answer_delta().token_ids_size();
    case Event::kFinished:
      tokens_.answer += event.finished().token_ids_size();
      OnFinished(event.finished());
      return event.finished().token_ids_size();
    case Event::kCompleted:
      OnCompleted(event.completed().usage());
      return 0;
    default:
      return 0;
  }
}

void EventChecker::End(const absl::Status& status) {
  const bool completed = place_ == Place::kCompleted;
  if (status.ok() && !completed) Violate(absl::StrCat("OK came after ", NameOf(last_)));
  // A cancel of ours, or the deadline, may overtake the end that the server has sent.
  if (completed && !status.ok() && !absl::IsCancelled(status) &&
      !absl::IsDeadlineExceeded(status)) {
    Violate(absl::StrCat(absl::StatusCodeToString(status.code()), " came after Completed"));
  }
}

void EventChecker::Violate(std::string what) {
  if (violations_.size() < kMaxViolations) violations_.push_back(std::move(what));
}

void EventChecker::Expect(const char* what, std::int64_t said, std::int64_t counted) {
  if (said != counted) Violate(absl::StrCat(what, " is ", said, ", counted were ", counted));
}

void EventChecker::OnStarted(const v1::Started& started) {
  tokens_.prompt = started.prompt_tokens();
  tokens_.cached = started.cached_prompt_tokens();
  answer_first_ = started.first_phase() == v1::PHASE_ANSWER;
  if (prompt_ids_ > 0) Expect("Started.prompt_tokens", started.prompt_tokens(), prompt_ids_);
  if (tokens_.cached < 0 || tokens_.cached > tokens_.prompt) {
    Violate(
        absl::StrCat("Started.cached_prompt_tokens is ", tokens_.cached, " of ", tokens_.prompt));
  }
}

void EventChecker::OnFinished(const v1::Finished& finished) {
  Expect("Finished.tokens.reasoning_tokens", finished.tokens().reasoning_tokens(),
         tokens_.reasoning);
  Expect("Finished.tokens.answer_tokens", finished.tokens().answer_tokens(), tokens_.answer);
  const std::int64_t output = tokens_.output();
  if (output > max_tokens_ || (ignore_eos_ && output < max_tokens_)) {
    Violate(absl::StrCat("the output has ", output, " tokens, max_tokens is ", max_tokens_));
  }
}

void EventChecker::OnCompleted(const v1::Usage& usage) {
  Expect("usage.prompt_tokens", usage.prompt_tokens(), tokens_.prompt);
  Expect("usage.cached_prompt_tokens", usage.cached_prompt_tokens(), tokens_.cached);
  Expect("usage.reasoning_tokens", usage.reasoning_tokens(), tokens_.reasoning);
  Expect("usage.answer_tokens", usage.answer_tokens(), tokens_.answer);
  tokens_.discarded = usage.discarded_tokens();
}

}  // namespace thinkwire::bench
