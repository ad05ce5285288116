#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/connection_table.h"
#include "common/rpc/shares.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace thinkwire::rpc {

class OpenCalls;

// The server's end of one call: takes its one message (or several, each once the last is dealt
// with: TakesMore) and sends any number, one write in flight and at most `capacity` behind it, of
// limits().queued_bytes at most. Every method is such a call, also those that answer once: gRPC
// tells of other kinds only when their message has arrived, so that nobody could bound how many
// wait for theirs, or for how long.
//
// A producer derives from it and is made by its RawService. Producers may keep shared pointers for
// as long as they like: after the call's end every function is a no-op.
//
// Threads: any. The hooks run on gRPC threads or the OpenCalls' own, without a lock held, and must
// not block. OnMessage or OnRefused is the first, once; OnDrained and OnCancelled come after
// OnMessage has returned, and OnEnded is the last. (Where it TakesMore, OnMessage may come again
// and OnRefused after it, and nobody hears OnCancelled between two messages.)
class ServerCall : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                   public std::enable_shared_from_this<ServerCall> {
 public:
  // What a peer may make a call wait for, and send.
  struct Limits {
    // From the headers, or the last message, until it has arrived.
    Clock::Duration message = kMessageTimeout;
    // From Write or Finish until the transport has taken it, which a shut window prevents.
    Clock::Duration reader = kReaderTimeout;
    Clock::Duration goodbye = kGoodbyeTimeout;  // the same, of the end, in a shutdown
    std::size_t message_bytes = kMaxMessageBytes;
    // What is queued, behind the one message that a call may always have: its own, all calls'.
    std::size_t queued_bytes = kMaxQueuedBytes;
    std::size_t all_queued_bytes = kMaxAllQueuedBytes;
  };

  ~ServerCall() override;

  // Sends `message` after all earlier ones. False, and nothing is kept, if the queue is full (then
  // OnDrained follows) or the stream is ending (then it does not).
  bool Write(const google::protobuf::Message& message);
  bool Write(const grpc::ByteBuffer& message);

  // Takes nothing more, and ends the call with `status` after all that is queued. Only the first
  // Finish counts.
  void Finish(absl::Status status);

  // Sent with the status. `key` in lower case. No effect once the end is on its way.
  void AddTrailingMetadata(const std::string& key, const std::string& value);

  // How many messages Write takes now, if they are small; 0 once the stream is ending.
  std::size_t room() const;

  // The connection's other end as gRPC writes it, "ipv4:10.0.0.7:51234".
  const std::string& peer() const { return peer_; }

 protected:
  // `capacity` >= 1.
  explicit ServerCall(std::size_t capacity);

  // The client's message.
  virtual void OnMessage(grpc::ByteBuffer message) = 0;
  // Whether another may follow. Then the call ends with OK once the client has ended its side.
  virtual bool TakesMore() const { return false; }
  // The call ends with `status`, as no message came that can be taken: the client has cancelled
  // before, has sent none or too large a one, or not in time.
  virtual void OnRefused(const absl::Status& /*status*/) {}
  // There is room again: at least half of it, after Write returned false.
  virtual void OnDrained() {}
  // The client has cancelled, vanished or broken the rules, its deadline has passed, or the server
  // gives the call up. The stream ends by itself.
  virtual void OnCancelled() {}
  // The call is over.
  virtual void OnEnded() {}

 private:
  friend class OpenCalls;

  // What OpenCalls does. First of all, before gRPC has the reactor: one of Begin and Refuse.
  void Attach(OpenCalls& owner, grpc::CallbackServerContext& context, Shares::Held place,
              ConnectionTable::Call of_connection);
  void Begin();
  void Refuse(absl::Status status);
  // Ends a call that has waited for longer than `limits` say. True: by cutting it off.
  bool Look(Clock::TimePoint now, const Limits& limits, bool shutting_down);
  // Ends it with `status`, unless it is ending.
  void Dismiss(const absl::Status& status);
  // Whether the client reset it before it was sent anything, or ended its side without a message,
  // which is what a reset looks like at first. REQUIRES, as the next: it is over.
  bool was_reset() const;
  // Whether the client was sent more than one message.
  bool has_streamed() const;
  // Of its messages, together.
  std::size_t message_bytes() const;

  // gRPC's reactions.
  void OnReadDone(bool ok) final;
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;

  bool AwaitsMessage() const;
  bool HasMessage() const;
  void TakeMessage();
  void CountMessage();
  void AwaitAnother();
  // What came during OnMessage.
  void TellWhatWaits();
  void TellCancelled();
  // Whether OnCancelled is to be called now, by Tell: the end waits for it from here on.
  bool BeginTelling() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Tell();
  // The client is gone: of its own will, or with its deadline or connection.
  void LoseClient();
  absl::Status CancelStatusNow() const;
  void End();
  // Counts `message` among what is queued. False, and nothing is counted, if that is too much.
  bool Admit(const grpc::ByteBuffer& message, Shares::Held* held)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool HasRoomAgain() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DropQueue() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Starts the next write, or the end, if nothing is in flight. Call without the lock.
  void Advance();
  // The same for a reader that takes nothing: gRPC sends a status behind all data, which are then
  // stuck for ever, unless it is sent this way, without details.
  void Cut(const absl::Status& status);

  enum class Reading { kAwaited, kNone, kHandedOver, kTaken };
  struct Queued {
    grpc::ByteBuffer message;
    Clock::TimePoint since;
    Shares::Held bytes;
  };

  const std::size_t capacity_;
  // Constant after Attach.
  OpenCalls* owner_ = nullptr;
  grpc::CallbackServerContext* context_ = nullptr;  // gRPC's, until the call is over
  std::string peer_;
  std::string share_key_;  // of peer_
  Clock::TimePoint began_;
  std::optional<Clock::TimePoint> deadline_;
  // Until OnDone.
  Shares::Held place_;
  ConnectionTable::Call of_connection_;

  grpc::ByteBuffer message_;    // gRPC's until OnReadDone
  grpc::ByteBuffer in_flight_;  // gRPC's while writing_

  mutable Mutex mu_;
  Reading reading_ ABSL_GUARDED_BY(mu_) = Reading::kAwaited;
  Clock::TimePoint awaited_since_ ABSL_GUARDED_BY(mu_);
  std::size_t message_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool has_taken_ ABSL_GUARDED_BY(mu_) = false;        // a message
  std::list<Queued> queue_ ABSL_GUARDED_BY(mu_);       // nothing, where nothing waits
  std::size_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of queue_
  Shares::Held in_flight_bytes_ ABSL_GUARDED_BY(mu_);  // while writing_
  std::optional<Clock::TimePoint> side_ended_at_ ABSL_GUARDED_BY(mu_);  // without a message
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  Clock::TimePoint in_flight_since_ ABSL_GUARDED_BY(mu_);
  int num_written_ ABSL_GUARDED_BY(mu_) = 0;  // of messages, up to 2
  bool producer_waits_ ABSL_GUARDED_BY(mu_) = false;
  bool drain_waits_ ABSL_GUARDED_BY(mu_) = false;   // until OnMessage has returned
  bool cancel_waits_ ABSL_GUARDED_BY(mu_) = false;  // likewise
  bool cancel_told_ ABSL_GUARDED_BY(mu_) = false;
  bool telling_ ABSL_GUARDED_BY(mu_) = false;  // OnCancelled runs: the end waits for it
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mu_);
  Clock::TimePoint finished_at_ ABSL_GUARDED_BY(mu_);
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // gRPC's Finish was called
  bool cut_ ABSL_GUARDED_BY(mu_) = false;
  bool reset_ ABSL_GUARDED_BY(mu_) = false;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace thinkwire::rpc
