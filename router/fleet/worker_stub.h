#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/rpc/channel.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::router::fleet {

// An attempt as those see it who wait for its worker.
class WatchedAttempt {
 public:
  virtual ~WatchedAttempt() = default;
  // Ends it if its worker has been silent for too long; or if it stands still and others have
  // `room` for it, of which it takes one place then. Any thread.
  virtual void Look(Clock::TimePoint now, std::int64_t& room) = 0;
  // Ends it, for what its worker did. Any thread.
  virtual void GiveUp(const std::string& did) = 0;
};

// Hides gRPC's stub from those who include the header.
struct WorkerStub {
  WorkerStub(const std::string& address, const rpc::ChannelSecurity& security)
      : WorkerStub(rpc::MakeChannel(address, rpc::Proxy::kNone, security)) {
    watches = v1::WorkerService::NewStub(rpc::MakeChannel(address, rpc::Proxy::kNone, security));
  }
  explicit WorkerStub(const std::shared_ptr<grpc::Channel>& channel)
      : calls(channel), reach(channel) {}

  v1::WorkerService::Stub calls;
  grpc::health::v1::Health::Stub reach;  // over the calls' connection
  // Over a connection of its own: no number of calls, and no large one, comes before a status.
  std::unique_ptr<v1::WorkerService::Stub> watches;
  std::atomic<std::int32_t> vocab_size = 0;        // as its status says it; 0: not known
  std::atomic<std::int32_t> request_revision = 0;  // likewise; 0: the first, or not known
  Mutex mu;
  std::map<const void*, std::weak_ptr<WatchedAttempt>> attempts ABSL_GUARDED_BY(mu);  // begun
};

// What ties a call to its channel. Whoever lets go of the process's last channel must not be one of
// gRPC's own threads: gRPC 1.51 then joins that thread from within itself, and aborts. So a call
// lets go before it tells anybody that it has ended, while its client still has the channel.
// Threads: any; stub and context before the call has ended.
class ChannelTie {
 public:
  explicit ChannelTie(std::shared_ptr<WorkerStub> stub) : held_(std::make_unique<Held>()) {
    held_->stub = std::move(stub);
  }

  WorkerStub& stub() { return *held()->stub; }
  // For another call; null once the call has ended.
  std::shared_ptr<WorkerStub> share() {
    MutexLock lock(mu_);
    return held_ ? held_->stub : nullptr;
  }
  std::atomic<std::int32_t>& vocab_size() { return stub().vocab_size; }
  grpc::ClientContext& context() { return held()->context; }

  void TryCancel() {
    MutexLock lock(mu_);
    if (held_) held_->context.TryCancel();
  }
  void LetGo() {
    std::unique_ptr<Held> last;
    MutexLock lock(mu_);
    last.swap(held_);
  }

 private:
  struct Held {
    std::shared_ptr<WorkerStub> stub;
    grpc::ClientContext context;
  };
  Held* held() {
    MutexLock lock(mu_);
    return held_.get();
  }

  Mutex mu_;
  std::unique_ptr<Held> held_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router::fleet
