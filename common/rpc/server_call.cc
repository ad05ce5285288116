#include "common/rpc/server_call.h"

#include <grpcpp/server_context.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/peer_limits.h"
#include "common/rpc/deadline.h"
#include "common/rpc/few_pollers.h"
#include "common/rpc/open_calls.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/status_details.h"

namespace thinkwire::rpc {
namespace {

absl::Status TooManyMessages() {
  return Error(absl::StatusCode::kInvalidArgument, "TOO_MANY_MESSAGES",
               "the call takes one message and was sent another");
}

absl::Status TooLarge(std::size_t bytes, std::size_t limit) {
  return Error(absl::StatusCode::kResourceExhausted, "MESSAGE_TOO_LARGE",
               absl::StrCat("the message has ", bytes, " bytes, of at most ", limit));
}

// ByteBuffer has no move, and a copy would keep the bytes for as long as both are there.
grpc::ByteBuffer Take(grpc::ByteBuffer& from) {
  grpc::ByteBuffer taken;
  taken.Swap(&from);
  return taken;
}

}  // namespace

ServerCall::ServerCall(std::size_t capacity) : capacity_(capacity) {
  CHECK(capacity >= 1, "a call needs room for a message");
}

ServerCall::~ServerCall() = default;

void ServerCall::Attach(OpenCalls& owner, grpc::CallbackServerContext& context, Shares::Held place,
                        ConnectionTable::Call of_connection) {
  owner_ = &owner;
  context_ = &context;
  peer_ = context.peer();
  share_key_ = owner.ShareKey(peer_);
  began_ = Clock::Real().Now();
  {
    MutexLock lock(mu_);
    awaited_since_ = began_;
  }
  deadline_ = DeadlineOf(context, Clock::Real());
  place_ = std::move(place);
  of_connection_ = std::move(of_connection);
}

void ServerCall::Begin() { StartRead(&message_); }

void ServerCall::Refuse(absl::Status status) {
  {
    MutexLock lock(mu_);
    if (reading_ != Reading::kAwaited) return;
    reading_ = Reading::kNone;
  }
  OnRefused(status);
  Finish(std::move(status));
}

bool ServerCall::AwaitsMessage() const {
  MutexLock lock(mu_);
  return reading_ == Reading::kAwaited;
}

bool ServerCall::HasMessage() const {
  MutexLock lock(mu_);
  return reading_ == Reading::kHandedOver || reading_ == Reading::kTaken;
}

void ServerCall::OnReadDone(bool ok) {
  if (!AwaitsMessage()) {
    // The one message of a call that is being refused may still come.
    if (ok && HasMessage()) Dismiss(TooManyMessages());
    return;
  }
  if (ok) return TakeMessage();
  bool done = false;
  {
    MutexLock lock(mu_);
    done = has_taken_;
    // The end of a call that we have ended is the client's no more.
    if (!done && !final_status_) side_ended_at_ = Clock::Real().Now();
  }
  if (done) Finish(absl::OkStatus());
}

void ServerCall::TakeMessage() {
  const std::size_t limit = owner_->limits().message_bytes;
  CountMessage();
  if (message_.Length() > limit) return Refuse(TooLarge(message_.Length(), limit));
  {
    MutexLock lock(mu_);
    if (reading_ != Reading::kAwaited) return;
    reading_ = Reading::kHandedOver;
    has_taken_ = true;
  }
  grpc::ByteBuffer message = Take(message_);
  if (message.Length() > kLongPromptBytes) LetAnotherPoll();
  const bool more = TakesMore();
  if (!more) StartRead(&message_);
  OnMessage(Take(message));
  TellWhatWaits();
  if (more) AwaitAnother();
}

void ServerCall::CountMessage() {
  MutexLock lock(mu_);
  message_bytes_ += message_.Length();
}

void ServerCall::AwaitAnother() {
  {
    MutexLock lock(mu_);
    if (final_status_) return;
    reading_ = Reading::kAwaited;
    awaited_since_ = Clock::Real().Now();
  }
  StartRead(&message_);
}

void ServerCall::TellWhatWaits() {
  bool cancelled = false;
  bool drained = false;
  {
    MutexLock lock(mu_);
    reading_ = Reading::kTaken;
    cancelled = cancel_waits_;
    drained = drain_waits_ && !final_status_;
  }
  if (cancelled) return TellCancelled();
  if (drained) OnDrained();
}

bool ServerCall::Write(const google::protobuf::Message& message) {
  return Write(Serialize(message));
}

bool ServerCall::Write(const grpc::ByteBuffer& message) {
  {
    MutexLock lock(mu_);
    if (final_status_) return false;
    Shares::Held bytes;
    if (!Admit(message, &bytes)) {
      producer_waits_ = true;
      return false;
    }
    queued_bytes_ += message.Length();
    queue_.push_back({message, Clock::Real().Now(), std::move(bytes)});
  }
  Advance();
  return true;
}

// Whoever has nothing on its way gets a message on it, so that every stream goes on, however full
// the others are.
bool ServerCall::Admit(const grpc::ByteBuffer& message, Shares::Held* held) {
  const bool must = queue_.empty() && !writing_;
  const std::size_t bytes = message.Length();
  if (!must && queue_.size() >= capacity_) return false;
  if (!must && queued_bytes_ + bytes > owner_->limits().queued_bytes) return false;
  std::optional<Shares::Held> taken = owner_->TakeQueued(share_key_, bytes, must);
  if (!taken) return false;
  *held = *std::move(taken);
  return true;
}

bool ServerCall::HasRoomAgain() const {
  return queue_.size() * 2 <= capacity_ && queued_bytes_ * 2 <= owner_->limits().queued_bytes;
}

void ServerCall::DropQueue() {
  queue_.clear();
  queued_bytes_ = 0;
}

void ServerCall::Finish(absl::Status status) {
  {
    MutexLock lock(mu_);
    if (final_status_) return;
    final_status_ = std::move(status);
    finished_at_ = Clock::Real().Now();
  }
  Advance();
}

void ServerCall::AddTrailingMetadata(const std::string& key, const std::string& value) {
  MutexLock lock(mu_);
  if (!ended_) context_->AddTrailingMetadata(key, value);
}

std::size_t ServerCall::room() const {
  MutexLock lock(mu_);
  return final_status_ ? 0 : capacity_ - queue_.size();
}

void ServerCall::Advance() {
  bool write = false;
  std::optional<grpc::Status> end;
  {
    MutexLock lock(mu_);
    if (writing_ || ended_) return;
    if (!queue_.empty()) {
      in_flight_.Swap(&queue_.front().message);
      in_flight_since_ = queue_.front().since;
      in_flight_bytes_ = std::move(queue_.front().bytes);
      queued_bytes_ -= in_flight_.Length();
      queue_.pop_front();
      writing_ = write = true;
      num_written_ = std::min(num_written_ + 1, 2);
    } else if (final_status_) {
      ended_ = true;
      end = ToGrpc(*final_status_);
    }
  }
  if (write) StartWrite(&in_flight_);
  if (end) ServerBidiReactor::Finish(*std::move(end));
}

void ServerCall::OnWriteDone(bool ok) {
  bool drained = false;
  {
    MutexLock lock(mu_);
    writing_ = false;
    in_flight_bytes_ = {};
    if (!ok) DropQueue();
    if (ok && producer_waits_ && !final_status_ && HasRoomAgain()) {
      producer_waits_ = false;
      (reading_ == Reading::kHandedOver ? drain_waits_ : drained) = true;
    }
  }
  if (!ok) LoseClient();
  Advance();
  if (drained) OnDrained();
}

void ServerCall::OnCancel() {
  {
    MutexLock lock(mu_);
    DropQueue();
    // Whatever we have decided meanwhile: in a flood this comes long after it.
    reset_ |= !cut_ && num_written_ == 0 && absl::IsCancelled(CancelStatusNow());
  }
  LoseClient();
}

absl::Status ServerCall::CancelStatusNow() const {
  return CancelStatus(deadline_, began_, Clock::Real().Now());
}

void ServerCall::LoseClient() {
  Dismiss(CancelStatusNow());
  TellCancelled();  // also of an end that is on its way
}

void ServerCall::Dismiss(const absl::Status& status) {
  Refuse(status);
  bool tells = false;
  {
    MutexLock lock(mu_);
    if (final_status_) return;
    final_status_ = status;
    finished_at_ = Clock::Real().Now();
    tells = BeginTelling();  // before anybody can end it
  }
  Advance();
  if (tells) Tell();
}

void ServerCall::TellCancelled() {
  {
    MutexLock lock(mu_);
    if (!BeginTelling()) return;
  }
  Tell();
}

bool ServerCall::BeginTelling() {
  if (reading_ == Reading::kHandedOver) {
    cancel_waits_ = true;
    return false;
  }
  if (reading_ != Reading::kTaken || over_ || cancel_told_) return false;
  cancel_told_ = true;
  telling_ = true;
  return true;
}

void ServerCall::Tell() {
  OnCancelled();
  bool ended = false;
  {
    MutexLock lock(mu_);
    telling_ = false;
    ended = over_;
  }
  if (ended) End();
}

bool ServerCall::was_reset() const {
  MutexLock lock(mu_);
  return reset_;
}

bool ServerCall::has_streamed() const {
  MutexLock lock(mu_);
  return num_written_ > 1;
}

std::size_t ServerCall::message_bytes() const {
  MutexLock lock(mu_);
  return message_bytes_;
}

void ServerCall::OnDone() {
  {
    MutexLock lock(mu_);
    over_ = true;
    DropQueue();
    in_flight_bytes_ = {};
    if (telling_) return;  // whoever tells ends it
  }
  End();
}

void ServerCall::End() {
  OnEnded();
  place_ = {};
  of_connection_ = {};
  owner_->End(*this);
}

}  // namespace thinkwire::rpc
