#include "router/fleet/worker_client.h"

#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/attempt_contract.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/deadline.h"
#include "common/rpc/request_revision.h"
#include "common/rpc/status_details.h"
#include "common/rpc/traceparent.h"
#include "router/fleet/status_watch.h"
#include "router/fleet/worker_errors.h"
#include "router/fleet/worker_stub.h"

namespace thinkwire::router::fleet {

namespace {

constexpr std::string_view kStoodStill = "stood still with a stream that others have room for";

constexpr char kRequestNotFound[] = "REQUEST_NOT_FOUND";

void Prepare(const CallContext& call, const Clock& clock, grpc::ClientContext& context) {
  if (call.deadline) rpc::SetDeadline(*call.deadline, clock, context);
  const std::string traceparent = call.trace ? MakeTraceparent(*call.trace) : call.traceparent;
  if (!traceparent.empty()) context.AddMetadata(rpc::kTraceparentMetadata, traceparent);
  if (!call.peer.empty()) context.AddMetadata(rpc::kPeerMetadata, call.peer);
}

absl::Status NotFound() {
  return rpc::Error(absl::StatusCode::kNotFound, kRequestNotFound,
                    "the request does not run there");
}

// Of an AnswerNow: a worker may say that it has no such request, which it may not of other calls.
absl::Status AnswerNowError(const absl::Status& status, const std::string& worker) {
  const bool unknown = absl::IsNotFound(status) && rpc::ErrorReason(status) == kRequestNotFound;
  return unknown ? NotFound() : ForClient(status, worker);
}

void SendAnswerNow(std::shared_ptr<WorkerStub> stub, const v1::WorkerAnswerNowRequest& request,
                   const CallContext& context, const std::string& worker, const Clock& clock,
                   AnswerNowDone on_done) {
  struct Call {
    explicit Call(std::shared_ptr<WorkerStub> stub) : tie(std::move(stub)) {}
    ChannelTie tie;
    v1::WorkerAnswerNowResponse response;
  };
  auto call = std::make_shared<Call>(std::move(stub));
  CallContext limited = context;
  const Clock::TimePoint limit = clock.Now() + kAnswerNowTimeout;
  limited.deadline = std::min(limited.deadline.value_or(limit), limit);
  Prepare(limited, clock, call->tie.context());
  auto& calls = call->tie.stub().calls;
  calls.async()->AnswerNow(
      &call->tie.context(), &request, &call->response,  // gRPC makes bytes of it at once
      [call, worker, on_done = std::move(on_done)](const grpc::Status& status) {
        call->tie.LetGo();
        if (status.ok()) {
          on_done(call->response.outputs());
        } else {
          on_done(AnswerNowError(rpc::FromGrpc(status), worker));
        }
      });
}

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

  void Start(const v1::WorkerGenerateRequest& wanted) override {
    self_ = shared_from_this();
    const auto older = rpc::ForRevision(wanted, tie_.stub().request_revision);
    const v1::WorkerGenerateRequest& request = older ? *older : wanted;
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

  void AnswerNow(const v1::WorkerAnswerNowRequest& request, const CallContext& context,
                 AnswerNowDone on_done) override {
    std::shared_ptr<WorkerStub> stub = tie_.share();
    if (stub == nullptr) return on_done(NotFound());
    SendAnswerNow(std::move(stub), request, context, worker_, clock_, std::move(on_done));
  }

  void Look(Clock::TimePoint now, std::int64_t& room) override {
    {
      MutexLock lock(mu_);
      if (cancelled_ || !violation_.ok() || !silent_.empty()) return;
      silent_ = silence_->WhatIsTooLong(now);
      if (silent_.empty() && room > 0 && silence_->StandsStill(now)) {
        silent_ = kStoodStill;
        --room;
      }
      if (silent_.empty()) return;
    }
    tie_.TryCancel();  // a read is under way, and fails
  }

  void GiveUp(const std::string& did) override {
    bool read = false;
    {
      MutexLock lock(mu_);
      if (cancelled_ || !violation_.ok() || !silent_.empty()) return;
      silent_ = did;
      read = std::exchange(paused_, false);
    }
    End(read);
  }

  void Cancel() override {
    bool read = false;
    {
      MutexLock lock(mu_);
      cancelled_ = true;
      read = std::exchange(paused_, false);
    }
    End(read);
  }

 private:
  // `read`: none is under way that would fail and so release the hold.
  void End(bool read) {
    tie_.TryCancel();
    if (read) StartRead(&response_);
  }
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
      const Clock::TimePoint now = clock_.Now();
      violation_ = contract_->Add(response_, now);
      silence_->Hear(contract_->brought_on(), now);
      silence_->Pause(now);  // nobody reads while it is handed on
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
      // Says nothing of the worker, whatever code it comes with.
      if (cancelled_) return rpc::Error(absl::StatusCode::kCancelled, "CANCELLED", "was cancelled");
      if (silent_ == kStoodStill) return CrowdedError(worker_);
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

void WorkerClient::AnswerNow(const v1::WorkerAnswerNowRequest& request, const CallContext& context,
                             AnswerNowDone on_done) const {
  SendAnswerNow(stub_, request, context, address_, clock_, std::move(on_done));
}

std::shared_ptr<StatusWatch> WorkerClient::Watch(std::function<void(StatusResult)> on_status,
                                                 std::function<void(absl::Status)> on_end) const {
  return StartWatch(stub_, clock_, std::move(on_status), std::move(on_end));
}

}  // namespace thinkwire::router::fleet
