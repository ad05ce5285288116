#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "common/mutex.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace thinkwire::rpc {

// The sending end of one raw server stream: one write in flight, at most `capacity` messages behind
// it. A producer derives from it, makes it with std::make_shared and returns Launch(…) from the
// method; producers may keep shared pointers for as long as they like: after the call's end every
// function is a no-op.
// Threads: any. The hooks run on gRPC threads, without a lock held, and must not block.
class StreamWriter : public grpc::ServerWriteReactor<grpc::ByteBuffer>,
                     public std::enable_shared_from_this<StreamWriter> {
 public:
  ~StreamWriter() override;

  // The reactor to hand to gRPC, which keeps `writer` alive until the call is over.
  static StreamWriter* Launch(std::shared_ptr<StreamWriter> writer);

  // Sends `message` after all earlier ones. False, and nothing is kept, if the queue is full (then
  // OnDrained follows) or the stream is ending (then it does not).
  bool Write(const google::protobuf::Message& message);

  // Takes nothing more, and ends the call with `status` after all that is queued. Only the first
  // Finish counts.
  void Finish(absl::Status status);

  // How many messages Write takes now; 0 once the stream is ending.
  std::size_t room() const;

 protected:
  // `capacity` >= 1.
  explicit StreamWriter(std::size_t capacity);

  // There is room again: at least half of it, after Write returned false.
  virtual void OnDrained() {}
  // The client has cancelled, vanished, or its deadline has passed. The stream ends by itself.
  virtual void OnCancelled() {}
  // The call is over: the last hook.
  virtual void OnEnded() {}

 private:
  void OnWriteDone(bool ok) final;
  void OnCancel() final;
  void OnDone() final;

  // Starts the next write, or the end, if nothing is in flight. Call without the lock.
  void Advance();

  const std::size_t capacity_;
  mutable Mutex mu_;
  std::deque<grpc::ByteBuffer> queue_ ABSL_GUARDED_BY(mu_);
  grpc::ByteBuffer in_flight_;  // gRPC's while writing_
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool producer_waits_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // gRPC's Finish was called
  std::optional<absl::Status> final_status_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<StreamWriter> self_;  // from Launch to OnDone
};

}  // namespace thinkwire::rpc
