// ServerCall's part in the watch over its time (OpenCalls): what it may wait for, and the cut.

#include <grpc/grpc.h>
#include <grpcpp/server_context.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/server_call.h"
#include "common/rpc/status_details.h"

namespace thinkwire::rpc {
namespace {

// A client that resets a call whose side it has ended looks at first as if it had sent no message;
// OnCancel tells of the reset at once.
constexpr Clock::Duration kCancelTime = std::chrono::milliseconds(100);

absl::Status NoMessage() {
  return Error(absl::StatusCode::kInvalidArgument, "NO_MESSAGE",
               "the call has ended its side without a message");
}

absl::Status MessageTimeout(Clock::Duration limit) {
  return Error(absl::StatusCode::kDeadlineExceeded, "MESSAGE_TIMEOUT",
               absl::StrCat("the call's message has not arrived within ", ToSeconds(limit), " s"));
}

absl::Status SlowConsumer(Clock::Duration limit) {
  return Error(absl::StatusCode::kResourceExhausted, "SLOW_CONSUMER",
               absl::StrCat("the stream was not read for ", ToSeconds(limit), " s"));
}

absl::Status ShuttingDown() {
  return Error(absl::StatusCode::kUnavailable, "DRAINING",
               "the server shuts down and the stream was not read to its end");
}

}  // namespace

bool ServerCall::Look(Clock::TimePoint now, const Limits& limits, bool shutting_down) {
  std::optional<absl::Status> refusal;
  std::optional<absl::Status> stuck;
  {
    MutexLock lock(mu_);
    if (over_ || cut_) return false;
    const Clock::Duration patience = shutting_down ? limits.goodbye : limits.reader;
    if (final_status_ && now - finished_at_ >= patience) {
      stuck = !final_status_->ok() ? *final_status_
              : shutting_down      ? ShuttingDown()
                                   : SlowConsumer(patience);
    } else if (!final_status_ && writing_ && now - in_flight_since_ >= limits.reader) {
      stuck = SlowConsumer(limits.reader);
    }
    if (side_ended_at_ && now - *side_ended_at_ >= kCancelTime) {
      refusal = NoMessage();
      reset_ = true;
    } else if (now - awaited_since_ >= limits.message) {
      refusal = MessageTimeout(limits.message);
    }
  }
  if (refusal) Refuse(*std::move(refusal));
  if (stuck) Cut(*stuck);
  return stuck.has_value();
}

void ServerCall::Cut(const absl::Status& status) {
  grpc_call* call = nullptr;
  {
    MutexLock lock(mu_);
    if (over_) return;
    cut_ = true;
    DropQueue();
    if (!final_status_) final_status_ = status;
    call = context_->c_call();
    grpc_call_ref(call);
  }
  grpc_call_cancel_with_status(call, static_cast<grpc_status_code>(status.code()),
                               std::string(status.message()).c_str(), nullptr);
  grpc_call_unref(call);
}

}  // namespace thinkwire::rpc
