#include "router/fleet/worker_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <atomic>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/attempt_contract.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/channel.h"
#include "common/rpc/deadline.h"
#include "common/rpc/status_details.h"
#include "common/rpc/traceparent.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "router/fleet/worker_errors.h"
#include "router/fleet/worker_status.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::router::fleet {

// An attempt as those see it who wait for its worker.
class WatchedAttempt {
 public:
  virtual ~WatchedAttempt() = default;
  // Ends it if its worker has been silent for too long. Any thread.
  virtual void Look(Clock::TimePoint now) = 0;
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
  std::atomic<std::int32_t> vocab_size = 0;  // as its status says it; 0: not known
  Mutex mu;
  std::map<const void*, std::weak_ptr<WatchedAttempt>> attempts ABSL_GUARDED_BY(mu);  // begun
};

namespace {

void Prepare(const CallContext& call, const Clock& clock, grpc::ClientContext& context) {
  if (call.deadline) rpc::SetDeadline(*call.deadline, clock, context);
  if (!call.traceparent.empty()) context.AddMetadata(rpc::kTraceparentMetadata, call.traceparent);
  if (!call.peer.empty()) context.AddMetadata(rpc::kPeerMetadata, call.peer);
}

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

class Attempt final : public WorkerAttempt,
                      public WatchedAttempt,
                      public grpc::ClientReadReactor<v1::WorkerGenerateResponse>,
                      public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(std::string worker, std::shared_ptr<WorkerStub> stub, const CallContext& call,
          const Clock& clock, const Patience& patience, std::shared_ptr<Reader> reader)
      : worker_(std::move(worker)),
        tie_(std::move(stub)),
        clock_(clock),
        patience_(patience),
        reader_(std::move(reader)) {
    Prepare(call, clock, tie_.context());
  }

  void Start(const v1::WorkerGenerateRequest& request) override {
    self_ = shared_from_this();
    contract_.emplace(request, tie_.vocab_size(), clock_.Now());
    Enter();
    tie_.stub().calls.async()->Generate(&tie_.context(), &request, this);
    AddHold();  // ReadMore reads from outside gRPC's reactions
    StartRead(&response_);
    StartCall();  // gRPC makes bytes of the request before it sends or ends anything
  }

  void ReadMore() override {
    {
      MutexLock lock(mu_);
      if (!paused_) {
        wanted_ = true;  // OnMessage is about to return false
        return;
      }
      paused_ = false;
      silence_->Resume(clock_.Now());
    }
    StartRead(&response_);
  }

  void Look(Clock::TimePoint now) override {
    {
      MutexLock lock(mu_);
      if (cancelled_ || !violation_.ok() || !silent_.empty()) return;
      silent_ = silence_->WhatIsTooLong(now);
      if (silent_.empty()) return;
    }
    tie_.TryCancel();  // a read is under way, and fails
  }

  void Cancel() override {
    bool read = false;
    {
      MutexLock lock(mu_);
      cancelled_ = true;
      read = std::exchange(paused_, false);
    }
    tie_.TryCancel();
    if (read) StartRead(&response_);  // the read that fails releases the hold
  }

 private:
  // Has it watched, from now on until Leave.
  void Enter() {
    {
      MutexLock lock(mu_);
      silence_.emplace(patience_, clock_.Now());
    }
    WorkerStub& worker = tie_.stub();
    MutexLock lock(worker.mu);
    worker.attempts.emplace(this, shared_from_this());
  }
  void Leave() {
    WorkerStub& worker = tie_.stub();
    MutexLock lock(worker.mu);
    worker.attempts.erase(this);
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      RemoveHold();
      return;
    }
    if (Pass()) StartRead(&response_);
  }

  // Hands the message on; false if the reader wants no more for now.
  bool Pass() {
    {
      MutexLock lock(mu_);
      wanted_ = false;
      // Drains what is under way.
      if (cancelled_ || !violation_.ok() || !silent_.empty()) return true;
      violation_ = contract_->Add(response_, clock_.Now());
      silence_->Hear(contract_->brought_on(), clock_.Now());
      silence_->Pause(clock_.Now());  // nobody reads while it is handed on
    }
    if (!violation_.ok()) {
      tie_.TryCancel();
      return true;
    }
    const bool more = reader_->OnMessage(std::move(response_));
    MutexLock lock(mu_);
    paused_ = !more && !wanted_ && !cancelled_ && silent_.empty();
    if (!paused_) silence_->Resume(clock_.Now());
    return !paused_;
  }

  // The worker's word, ours on it, or gRPC's about the worker. Once all is told and has been passed
  // on, what becomes of the connection is no matter.
  absl::Status EndOf(const absl::Status& status) {
    MutexLock lock(mu_);
    if (!violation_.ok()) return ProtocolError(worker_, std::string(violation_.message()));
    if (status.ok()) {
      const absl::Status end = contract_->End();
      return end.ok() ? end : ProtocolError(worker_, std::string(end.message()));
    }
    if (!contract_->completed()) {
      return silent_.empty() ? ForClient(status, worker_) : SilentError(worker_, silent_);
    }
    if (rpc::ErrorReason(status).empty()) return absl::OkStatus();
    return ProtocolError(worker_, "an error came after Completed");
  }

  void OnDone(const grpc::Status& grpc_status) override {
    const absl::Status status = EndOf(rpc::FromGrpc(grpc_status));
    Leave();
    tie_.LetGo();
    reader_->OnEnd(status);
    reader_.reset();
    const std::shared_ptr<Attempt> last = std::move(self_);
  }

  const std::string worker_;
  ChannelTie tie_;
  const Clock& clock_;
  const Patience patience_;

  // gRPC's reactions only.
  std::shared_ptr<Reader> reader_;
  v1::WorkerGenerateResponse response_;
  std::optional<rpc::AttemptContract> contract_;  // from Start on
  absl::Status violation_;
  std::shared_ptr<Attempt> self_;

  Mutex mu_;
  std::optional<Silence> silence_ ABSL_GUARDED_BY(mu_);  // once sent
  std::string silent_ ABSL_GUARDED_BY(mu_);              // why it is given up
  bool paused_ ABSL_GUARDED_BY(mu_) = false;             // no read is under way
  bool wanted_ ABSL_GUARDED_BY(mu_) = false;             // ReadMore came before the pause
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

// Asks first whether calls reach the worker: the two connections come about, and break, each by
// itself, and a worker that is called live must take calls at once.
class Watcher final : public StatusWatch,
                      public grpc::ClientReadReactor<v1::WatchStatusResponse>,
                      public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(std::shared_ptr<WorkerStub> stub, const Clock& clock,
          std::function<void(WorkerClient::StatusResult)> on_status,
          std::function<void(absl::Status)> on_end)
      : clock_(clock),
        began_(clock.Now()),
        reach_(stub),
        tie_(std::move(stub)),
        on_status_(std::move(on_status)),
        on_end_(std::move(on_end)) {}

  void Start() {
    self_ = shared_from_this();
    reach_.stub().reach.async()->Check(&reach_.context(), &anybody_, &health_,
                                       [this](const grpc::Status& status) { OnReached(status); });
  }

  void Cancel() override {
    reach_.TryCancel();
    tie_.TryCancel();
  }

 private:
  // Whatever it answers, it was reached.
  void OnReached(const grpc::Status& status) {
    reach_.LetGo();
    const grpc::StatusCode code = status.error_code();
    if (code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::CANCELLED) {
      OnDone(status);
      return;
    }
    tie_.stub().watches->async()->WatchStatus(&tie_.context(), &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (IsFlood(++num_statuses_)) {
      flooded_ = true;
      return tie_.TryCancel();
    }
    WorkerClient::StatusResult status = ReadStatus(response_);
    tie_.vocab_size() = status.ok() ? response_.vocab_size() : 0;
    on_status_(std::move(status));
    StartRead(&response_);
  }

  // Whether no worker tells so many statuses so soon.
  bool IsFlood(std::int64_t statuses) const {
    const double seconds = ToSeconds(clock_.Now() - began_);
    return static_cast<double>(statuses) > kSignBurst + kSignsASecond * seconds;
  }

  void OnDone(const grpc::Status& status) override {
    tie_.vocab_size() = 0;  // another may come up there
    tie_.LetGo();
    on_end_(flooded_ ? absl::ResourceExhaustedError("too many statuses came")
                     : rpc::FromGrpc(status));
    const std::shared_ptr<Watcher> last = std::move(self_);
  }

  const Clock& clock_;
  const Clock::TimePoint began_;
  ChannelTie reach_;
  const grpc::health::v1::HealthCheckRequest anybody_;
  grpc::health::v1::HealthCheckResponse health_;
  ChannelTie tie_;
  const std::function<void(WorkerClient::StatusResult)> on_status_;
  const std::function<void(absl::Status)> on_end_;
  const v1::WatchStatusRequest request_;
  v1::WatchStatusResponse response_;
  std::int64_t num_statuses_ = 0;
  bool flooded_ = false;
  std::shared_ptr<Watcher> self_;
};

}  // namespace

WorkerClient::WorkerClient(std::string address, const Clock& clock, const Patience& patience,
                           const rpc::ChannelSecurity& security)
    : address_(std::move(address)),
      clock_(clock),
      patience_(patience),
      stub_(std::make_shared<WorkerStub>(address_, security)) {}

WorkerClient::~WorkerClient() = default;

std::shared_ptr<WorkerAttempt> WorkerClient::Generate(
    const CallContext& context, std::shared_ptr<WorkerAttempt::Reader> reader) const {
  return std::make_shared<Attempt>(address_, stub_, context, clock_, patience_, std::move(reader));
}

void WorkerClient::EndSilentAttempts() const {
  std::vector<std::shared_ptr<WatchedAttempt>> attempts;
  {
    MutexLock lock(stub_->mu);
    for (const auto& entry : stub_->attempts) {
      if (auto attempt = entry.second.lock()) attempts.push_back(std::move(attempt));
    }
  }
  for (const auto& attempt : attempts) attempt->Look(clock_.Now());
}

void WorkerClient::CountTokens(const v1::WorkerCountTokensRequest& request,
                               const CallContext& context,
                               std::function<void(CountResult)> on_done) const {
  struct Call {
    explicit Call(std::shared_ptr<WorkerStub> stub) : tie(std::move(stub)) {}
    ChannelTie tie;
    v1::WorkerCountTokensResponse response;
  };
  auto call = std::make_shared<Call>(stub_);
  Prepare(context, clock_, call->tie.context());
  stub_->calls.async()->CountTokens(
      &call->tie.context(), &request, &call->response,  // gRPC makes bytes of it at once
      [call, worker = address_, on_done = std::move(on_done)](const grpc::Status& status) {
        call->tie.LetGo();
        if (status.ok()) {
          on_done(std::move(call->response));
        } else {
          on_done(ForClient(rpc::FromGrpc(status), worker));
        }
      });
}

std::shared_ptr<StatusWatch> WorkerClient::Watch(std::function<void(StatusResult)> on_status,
                                                 std::function<void(absl::Status)> on_end) const {
  auto watcher = std::make_shared<Watcher>(stub_, clock_, std::move(on_status), std::move(on_end));
  watcher->Start();
  return watcher;
}

}  // namespace thinkwire::router::fleet
