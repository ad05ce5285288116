#include "common/rpc/stream_writer.h"

#include <utility>

#include "common/check.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/status_details.h"

namespace thinkwire::rpc {

StreamWriter::StreamWriter(std::size_t capacity) : capacity_(capacity) {
  CHECK(capacity >= 1, "a stream needs room for a message");
}

StreamWriter::~StreamWriter() = default;

StreamWriter* StreamWriter::Launch(std::shared_ptr<StreamWriter> writer) {
  StreamWriter* reactor = writer.get();
  reactor->self_ = std::move(writer);
  return reactor;
}

bool StreamWriter::Write(const google::protobuf::Message& message) {
  {
    MutexLock lock(mu_);
    if (final_status_) return false;
    if (queue_.size() >= capacity_) {
      producer_waits_ = true;
      return false;
    }
    queue_.push_back(Serialize(message));
  }
  Advance();
  return true;
}

void StreamWriter::Finish(absl::Status status) {
  {
    MutexLock lock(mu_);
    if (final_status_) return;
    final_status_ = std::move(status);
  }
  Advance();
}

std::size_t StreamWriter::room() const {
  MutexLock lock(mu_);
  return final_status_ ? 0 : capacity_ - queue_.size();
}

void StreamWriter::Advance() {
  bool write = false;
  std::optional<grpc::Status> end;
  {
    MutexLock lock(mu_);
    if (writing_ || ended_) return;
    if (!queue_.empty()) {
      in_flight_ = queue_.front();  // shares its bytes
      queue_.pop_front();
      writing_ = write = true;
    } else if (final_status_) {
      ended_ = true;
      end = ToGrpc(*final_status_);
    }
  }
  if (write) StartWrite(&in_flight_);
  if (end) grpc::ServerWriteReactor<grpc::ByteBuffer>::Finish(*std::move(end));
}

void StreamWriter::OnWriteDone(bool ok) {
  bool drained = false;
  {
    MutexLock lock(mu_);
    writing_ = false;
    if (!ok) {
      queue_.clear();
      if (!final_status_) final_status_ = absl::CancelledError("the client is gone");
    }
    if (producer_waits_ && !final_status_ && queue_.size() * 2 <= capacity_) {
      producer_waits_ = false;
      drained = true;
    }
  }
  Advance();
  if (drained) OnDrained();
}

void StreamWriter::OnCancel() {
  {
    MutexLock lock(mu_);
    queue_.clear();
  }
  Finish(absl::CancelledError("the client has cancelled, or its deadline has passed"));
  OnCancelled();
}

void StreamWriter::OnDone() {
  OnEnded();
  const std::shared_ptr<StreamWriter> last = std::move(self_);
}

}  // namespace thinkwire::rpc
