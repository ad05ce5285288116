#include "common/rpc/attempt_contract.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/status.h"

namespace thinkwire::rpc {

namespace {

// As far as the request says it; 0: it does not.
std::int32_t PromptTokens(const v1::WorkerGenerateRequest& request) {
  if (!request.has_resume()) return request.request().prompt().token_ids().ids_size();
  const v1::ResumeState& state = request.resume();
  return state.prompt_ids().empty() ? state.prompt_tokens() : state.prompt_ids_size();
}

}  // namespace

AttemptContract::AttemptContract(const v1::WorkerGenerateRequest& request, std::int32_t vocab_size,
                                 Clock::TimePoint now)
    : attempt_(request.attempt()),
      prompt_tokens_(PromptTokens(request)),
      vocab_size_(vocab_size),
      fingerprint_(request.expected_fingerprint()),
      began_(now),
      events_(request.request()) {
  events_.ExpectVocabSize(vocab_size);
  if (request.has_resume()) events_.Resume(request.resume());
  if (request.end_without_answer()) events_.MayEndUnanswered();
}

absl::Status AttemptContract::Add(const v1::WorkerGenerateResponse& message, Clock::TimePoint now) {
  brought_on_ = false;
  if (next_seq_ > 0 || message.ByteSizeLong() > 0) RETURN_IF_ERROR(AddNumbered(message));
  const v1::GenerateResponse& event = message.event();
  const bool is_sign = !message.has_event() || event.has_queued() || event.has_progress();
  return is_sign ? CountSign(now) : absl::OkStatus();
}

absl::Status AttemptContract::AddNumbered(const v1::WorkerGenerateResponse& message) {
  if (message.attempt() != attempt_) {
    return absl::InternalError(
        absl::StrCat("attempt ", message.attempt(), " was answered, not ", attempt_));
  }
  if (message.seq() != next_seq_) {
    return absl::InternalError(
        absl::StrCat("event ", message.seq(), " came where event ", next_seq_, " was due"));
  }
  RETURN_IF_ERROR(AddPromptIds(message));
  ++next_seq_;
  if (message.has_event()) return AddEvent(message.event());
  if (events_.started() && !events_.completed()) return absl::OkStatus();
  return absl::InternalError("a message without an event came before Started or after Completed");
}

absl::Status AttemptContract::CountSign(Clock::TimePoint now) {
  const double seconds = ToSeconds(now - began_);
  const double most = static_cast<double>(kSignBurst) + kSignsASecond * seconds;
  if (static_cast<double>(++signs_) <= most) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(signs_, " signs of life came in ", seconds, " s"));
}

void AttemptContract::NoteProgress(const v1::GenerateResponse& event) {
  if (event.has_progress()) return;
  if (!event.has_queued()) {
    brought_on_ = true;
  } else if (event.queued().position() < best_position_) {
    best_position_ = event.queued().position();
    brought_on_ = true;
  }
}

absl::Status AttemptContract::AddEvent(const v1::GenerateResponse& event) {
  if (event.has_moved() || event.has_restarted()) {
    return absl::InternalError("Moved and Restarted are none of a worker's events");
  }
  const std::int32_t context = event.started().limits().max_model_len();
  if (context > kMaxModelLen) {
    return absl::InternalError(absl::StrCat("Started.limits.max_model_len is ", context));
  }
  if (event.has_started() && !fingerprint_.empty() &&
      event.started().fingerprint() != fingerprint_) {
    return absl::InternalError("Started.fingerprint is another than the one that was asked for");
  }
  NoteProgress(event);
  return events_.Add(event);
}

absl::Status AttemptContract::AddPromptIds(const v1::WorkerGenerateResponse& message) {
  const auto& ids = message.prompt_ids().ids();
  if (message.has_prompt_ids() != (next_seq_ == 0)) {
    return absl::InternalError("the prompt's ids come with the first event, and with it alone");
  }
  if (next_seq_ > 0) return absl::OkStatus();
  if (ids.empty() || ids.size() > kMaxModelLen ||
      (prompt_tokens_ > 0 && ids.size() != prompt_tokens_)) {
    return absl::InternalError(absl::StrCat("the prompt has ", ids.size(), " ids"));
  }
  const auto [least, greatest] = std::ranges::minmax(ids);
  if (least < 0 || (vocab_size_ > 0 && greatest >= vocab_size_)) {
    return absl::InternalError(absl::StrCat("the prompt has ids from ", least, " to ", greatest,
                                            ", the vocabulary ", vocab_size_));
  }
  events_.ExpectPromptTokens(ids.size());
  return absl::OkStatus();
}

}  // namespace thinkwire::rpc
