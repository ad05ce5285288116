// What StreamContract says of events that only some streams have: Moved, Restarted, Progress.

#include <algorithm>

#include "common/rpc/contract_errors.h"
#include "common/rpc/stream_contract.h"
#include "common/status.h"

namespace thinkwire::rpc {

absl::Status StreamContract::AddMoved() {
  if (!started_ || completed_) return Misplaced();
  ++moves_;
  return absl::OkStatus();
}

absl::Status StreamContract::AddProgress(const v1::Progress& progress) const {
  const bool is_first = last_ == v1::GenerateResponse::EVENT_NOT_SET && !started_;
  if (!asks_progress_ || is_first || IsOver()) return Misplaced();
  if (progress.reason() == v1::SILENCE_REASON_UNSPECIFIED ||
      !v1::SilenceReason_IsValid(progress.reason())) {
    return Wrong("Progress.reason is ", static_cast<int>(progress.reason()));
  }
  const std::int32_t computed = progress.computed_tokens();
  if (computed >= 0 && computed <= progress.total_tokens()) return absl::OkStatus();
  return Wrong("Progress.computed_tokens is ", computed, " of ", progress.total_tokens());
}

// Of what is known of the run before, nothing holds.
absl::Status StreamContract::AddRestarted(const v1::Restarted& restarted) {
  const bool has_answered = std::ranges::any_of(outputs_, [](const Output& output) {
    return output.place != Place::kBegun && output.place != Place::kReasoning;
  });
  if (!started_ || completed_ || !may_restart_ || has_answered || restarts_ == kMaxRestarts) {
    return Misplaced();
  }
  if (restarted.cause() != v1::REASONING_FINISH_CAUSE_LOOP &&
      restarted.cause() != v1::REASONING_FINISH_CAUSE_LENGTH) {
    return Wrong("Restarted.cause is ", static_cast<int>(restarted.cause()));
  }
  ++restarts_;
  void_tokens_ += tokens();
  outputs_.assign(outputs_.size(), Output{});
  forced_tokens_ = 0;
  prompt_tokens_ = 0;
  vocab_size_ = 0;
  v1::Started started;
  started.set_prompt_tokens(restarted.prompt_tokens());
  started.set_seed(seed_);
  started.set_fingerprint(restarted.fingerprint());
  started.set_first_phase(restarted.first_phase());
  *started.mutable_limits() = restarted.limits();
  if (restarted.has_effective()) *started.mutable_effective() = restarted.effective();
  RETURN_IF_ERROR(Begin(started));
  cached_tokens_.reset();
  return absl::OkStatus();
}

}  // namespace thinkwire::rpc
