#include "tests/bench/serve_stream.h"

#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/status_details.h"

namespace thinkwire::bench {

ServeStream::ServeStream(std::int64_t index, double due, PlannedRequest plan, const Shared& shared)
    : shared_(shared), plan_(std::move(plan)), checker_(plan_.request) {
  record_.index = index;
  record_.due = due;
  record_.bad = plan_.bad;
}

void ServeStream::Start(v1::ReasoningService::Stub& stub) {
  if (shared_.deadline > Clock::Duration::zero()) {
    context_.set_deadline(std::chrono::system_clock::now() + shared_.deadline);
  }
  record_.sent = Now();
  const bool cancel_at_once = cancelled_ = plan_.cancel_after_tokens == 0;
  stub.async()->Generate(&context_, &plan_.request, this);
  StartRead(&event_);
  StartCall();  // from here on the reactions run
  if (cancel_at_once) context_.TryCancel();
}

void ServeStream::Abandon() {
  abandoned_ = true;
  context_.TryCancel();
}

void ServeStream::OnReadDone(bool ok) {
  if (!ok) return;
  const std::int32_t count = checker_.Add(event_);
  if (count > 0) CountTokens(count);
  CancelIfDue();
  StartRead(&event_);
}

void ServeStream::CountTokens(std::int32_t count) {
  const double now = Now();
  if (!record_.first_token) {
    record_.first_token = now;
    record_.first_event_tokens = count;
  }
  auto& first_of_phase = event_.has_reasoning_delta() || event_.has_reasoning_finished()
                             ? record_.first_reasoning_token
                             : record_.first_answer_token;
  if (!first_of_phase) first_of_phase = now;
  record_.last_token = now;
  if (shared_.keep_arrivals) record_.arrivals.push_back({now, count});
  shared_.tokens->fetch_add(count, std::memory_order_relaxed);
}

void ServeStream::CancelIfDue() {
  if (cancelled_ || !plan_.cancel_after_tokens) return;
  if (checker_.tokens().output() < *plan_.cancel_after_tokens) return;
  cancelled_ = true;
  context_.TryCancel();
}

Outcome ServeStream::OutcomeOf(const absl::Status& status) const {
  if (status.ok()) return Outcome::kCompleted;
  if (abandoned_) return Outcome::kFailed;
  if (cancelled_ && absl::IsCancelled(status)) return Outcome::kCancelled;
  const bool has_deadline = shared_.deadline > Clock::Duration::zero();
  if (has_deadline && absl::IsDeadlineExceeded(status)) return Outcome::kDeadline;
  // An error without an ErrorInfo is not the server's word, but gRPC's about the way to it.
  const bool is_servers = !rpc::ErrorReason(status).empty();
  const bool may_refuse = absl::IsResourceExhausted(status) || absl::IsUnavailable(status) ||
                          (plan_.bad && absl::IsInvalidArgument(status));
  return is_servers && may_refuse && !checker_.started() ? Outcome::kRefused : Outcome::kFailed;
}

void ServeStream::OnDone(const grpc::Status& grpc_status) {
  const absl::Status status = rpc::FromGrpc(grpc_status);
  checker_.End(status);
  record_.ended = Now();
  record_.outcome = OutcomeOf(status);
  record_.code = status.code();
  if (record_.outcome == Outcome::kRefused) {
    const auto delay = rpc::RetryAfter(status);
    if (delay) record_.come_again = record_.ended + ToSeconds(*delay);
  }
  record_.tokens = checker_.tokens();
  record_.violations = checker_.violations();
  if (plan_.bad && !(record_.outcome == Outcome::kRefused && absl::IsInvalidArgument(status))) {
    record_.violations.push_back(
        absl::StrCat("a wrong request was not refused: ", absl::StatusCodeToString(status.code())));
  }
  if (record_.outcome == Outcome::kFailed) {
    record_.message = abandoned_ ? "it did not end in time" : status.ToString();
  }
  shared_.on_end(std::move(record_));
}

}  // namespace thinkwire::bench
