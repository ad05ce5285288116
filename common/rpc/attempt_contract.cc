#include "common/rpc/attempt_contract.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/status.h"

namespace thinkwire::rpc {

AttemptContract::AttemptContract(const v1::WorkerGenerateRequest& request, std::int32_t vocab_size,
                                 Clock::TimePoint now)
    : attempt_(request.attempt()),
      prompt_tokens_(request.request().prompt().token_ids().ids_size()),
      vocab_size_(vocab_size),
      began_(now),
      events_(request.request()) {
  events_.ExpectVocabSize(vocab_size);
}

absl::Status AttemptContract::Add(const v1::WorkerGenerateResponse& message, Clock::TimePoint now) {
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
  if (IsSign(message)) RETURN_IF_ERROR(AddSign(message, now));
  return message.has_event() ? AddEvent(message.event()) : absl::OkStatus();
}

absl::Status AttemptContract::AddSign(const v1::WorkerGenerateResponse& message,
                                      Clock::TimePoint now) {
  if (!message.has_event() && (!events_.started() || events_.completed())) {
    return absl::InternalError("a message without an event came before Started or after Completed");
  }
  const double allowed =
      static_cast<double>(kSignBurst) + static_cast<double>(kSignsASecond) * ToSeconds(now - began_);
  if (static_cast<double>(++signs_) <= allowed) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat(signs_, " signs of life came in ", ToSeconds(now - began_), " s"));
}

absl::Status AttemptContract::AddEvent(const v1::GenerateResponse& event) {
  if (event.has_moved()) return absl::InternalError("Moved is none of a worker's events");
  const std::int32_t context = event.started().limits().max_model_len();
  if (context > kMaxModelLen) {
    return absl::InternalError(absl::StrCat("Started.limits.max_model_len is ", context));
  }
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
