#include "router/fleet/worker_client.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/client_callback.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/channel.h"
#include "common/rpc/deadline.h"
#include "common/rpc/status_details.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::router::fleet {

// Hides gRPC's stub from those who include the header.
struct WorkerStub {
  explicit WorkerStub(const std::shared_ptr<grpc::Channel>& channel) : calls(channel) {}
  v1::WorkerService::Stub calls;
};

namespace {

void Prepare(const CallContext& call, const Clock& clock, grpc::ClientContext& context) {
  if (call.deadline) rpc::SetDeadline(*call.deadline, clock, context);
  if (!call.traceparent.empty()) context.AddMetadata("traceparent", call.traceparent);
  if (!call.peer.empty()) context.AddMetadata(rpc::kPeerMetadata, call.peer);
}

// What a client is told of a worker's status. A status with an ErrorInfo is the worker's own word;
// one without is gRPC's about the worker.
absl::Status ForClient(const absl::Status& status, const std::string& worker) {
  if (status.ok() || !rpc::ErrorReason(status).empty()) return status;
  const std::string message = absl::StrCat("worker ", worker, ": ", status.message());
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:  // ours end in OnEnd's caller, not here
      return rpc::WithRetryAfter(
          rpc::WithMetadata(rpc::Error(absl::StatusCode::kUnavailable, "WORKER_LOST",
                                       absl::StrCat("the worker was lost: ", message)),
                            "worker", worker));
    case absl::StatusCode::kDeadlineExceeded:
      return rpc::Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
                        "the deadline has passed");
    case absl::StatusCode::kResourceExhausted:
      return rpc::Error(status.code(), "WORKER_LIMIT", message);
    default:  // a server that is no worker, or of another version
      return rpc::Error(absl::StatusCode::kInternal, "WORKER_PROTOCOL", message);
  }
}

absl::Status ProtocolError(const std::string& worker, const std::string& what) {
  return rpc::WithMetadata(rpc::Error(absl::StatusCode::kInternal, "WORKER_PROTOCOL",
                                      absl::StrCat("worker ", worker, " ", what)),
                           "worker", worker);
}

// More output tokens than any model's context holds: a router keeps the ids that a worker sends.
constexpr std::int64_t kMaxTokensOfAnOutput = 1 << 20;

// The tokens that an event brings, and whose.
struct TokensOfEvent {
  std::int32_t output = 0;
  std::int64_t count = 0;
};

TokensOfEvent TokensOf(const v1::GenerateResponse& event) {
  const auto of = [](const auto& part) -> TokensOfEvent {
    return {part.output_index(), part.token_ids_size()};
  };
  switch (event.event_case()) {
    case v1::GenerateResponse::kReasoningDelta:
      return of(event.reasoning_delta());
    case v1::GenerateResponse::kReasoningFinished:
      return of(event.reasoning_finished());
    case v1::GenerateResponse::kAnswerDelta:
      return of(event.answer_delta());
    case v1::GenerateResponse::kFinished:
      return of(event.finished());
    default:
      return {};
  }
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

  auto& stub() { return *held()->stub->calls.async(); }
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
                      public grpc::ClientReadReactor<v1::WorkerGenerateResponse>,
                      public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(std::string worker, std::shared_ptr<WorkerStub> stub, const CallContext& call,
          const Clock& clock, std::shared_ptr<Reader> reader)
      : worker_(std::move(worker)), tie_(std::move(stub)), reader_(std::move(reader)) {
    Prepare(call, clock, tie_.context());
  }

  void Start(const v1::WorkerGenerateRequest& request) override {
    self_ = shared_from_this();
    number_ = request.attempt();
    outputs_ = std::max(1, request.request().n());
    tie_.stub().Generate(&tie_.context(), &request, this);
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
    }
    StartRead(&response_);
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
      if (cancelled_ || !violation_.ok()) return true;  // drains what is under way
      violation_ = Check();
    }
    if (!violation_.ok()) {
      tie_.TryCancel();
      return true;
    }
    ++next_seq_;
    tokens_ += TokensOf(response_.event()).count;
    completed_ = response_.event().has_completed();
    const bool more = reader_->OnMessage(std::move(response_));
    MutexLock lock(mu_);
    paused_ = !more && !wanted_ && !cancelled_;
    return !paused_;
  }

  absl::Status Check() const {
    if (response_.attempt() != number_) {
      return ProtocolError(
          worker_, absl::StrCat("answers attempt ", response_.attempt(), ", not ", number_));
    }
    if (response_.seq() != next_seq_) {
      return ProtocolError(worker_, absl::StrCat("sent event ", response_.seq(), " where event ",
                                                 next_seq_, " was due"));
    }
    if (completed_) return ProtocolError(worker_, "sent an event after the last");
    switch (response_.event().event_case()) {
      case v1::GenerateResponse::EVENT_NOT_SET:
      case v1::GenerateResponse::kMoved:
        return ProtocolError(worker_, "sent an event that is none of a worker's");
      default:
        return CheckTokens(TokensOf(response_.event()));
    }
  }

  absl::Status CheckTokens(const TokensOfEvent& tokens) const {
    if (tokens.output < 0 || tokens.output >= outputs_) {
      return ProtocolError(
          worker_, absl::StrCat("sent output ", tokens.output, " of ", outputs_, " asked for"));
    }
    if (tokens_ + tokens.count > outputs_ * kMaxTokensOfAnOutput) {
      return ProtocolError(
          worker_, absl::StrCat("sent more than ", kMaxTokensOfAnOutput, " tokens of an output"));
    }
    return absl::OkStatus();
  }

  void OnDone(const grpc::Status& grpc_status) override {
    absl::Status status = violation_;
    if (status.ok()) status = ForClient(rpc::FromGrpc(grpc_status), worker_);
    if (status.ok() && !completed_) status = ProtocolError(worker_, "ended its stream too early");
    tie_.LetGo();
    reader_->OnEnd(status);
    reader_.reset();
    const std::shared_ptr<Attempt> last = std::move(self_);
  }

  const std::string worker_;
  ChannelTie tie_;
  std::int32_t number_ = 0;   // from Start on
  std::int32_t outputs_ = 1;  // likewise: how many were asked for

  // gRPC's reactions only.
  std::shared_ptr<Reader> reader_;
  v1::WorkerGenerateResponse response_;
  std::int64_t next_seq_ = 0;
  std::int64_t tokens_ = 0;  // handed on, of all outputs
  bool completed_ = false;
  absl::Status violation_;
  std::shared_ptr<Attempt> self_;

  Mutex mu_;
  bool paused_ ABSL_GUARDED_BY(mu_) = false;  // no read is under way
  bool wanted_ ABSL_GUARDED_BY(mu_) = false;  // ReadMore came before the pause
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

class Watcher final : public StatusWatch,
                      public grpc::ClientReadReactor<v1::WatchStatusResponse>,
                      public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(std::shared_ptr<WorkerStub> stub, std::function<void(decision::WorkerStatus)> on_status,
          std::function<void(absl::Status)> on_end)
      : tie_(std::move(stub)), on_status_(std::move(on_status)), on_end_(std::move(on_end)) {}

  void Start() {
    self_ = shared_from_this();
    tie_.stub().WatchStatus(&tie_.context(), &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void Cancel() override { tie_.TryCancel(); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return;
    on_status_({.served_model_name = response_.served_model_name(),
                .fingerprint = response_.fingerprint(),
                .max_model_len = response_.max_model_len(),
                .queued = std::max(0, response_.queued()),
                .running = std::max(0, response_.running()),
                .max_num_seqs = std::max(1, response_.max_num_seqs()),
                .free_kv_blocks = response_.free_kv_blocks(),
                .total_kv_blocks = response_.total_kv_blocks(),
                .draining = response_.draining()});
    StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override {
    tie_.LetGo();
    on_end_(rpc::FromGrpc(status));
    const std::shared_ptr<Watcher> last = std::move(self_);
  }

  ChannelTie tie_;
  const std::function<void(decision::WorkerStatus)> on_status_;
  const std::function<void(absl::Status)> on_end_;
  const v1::WatchStatusRequest request_;
  v1::WatchStatusResponse response_;
  std::shared_ptr<Watcher> self_;
};

}  // namespace

WorkerClient::WorkerClient(std::string address, const Clock& clock)
    : address_(std::move(address)),
      clock_(clock),
      stub_(std::make_shared<WorkerStub>(rpc::MakeChannel(address_))) {}

WorkerClient::~WorkerClient() = default;

std::shared_ptr<WorkerAttempt> WorkerClient::Generate(
    const CallContext& context, std::shared_ptr<WorkerAttempt::Reader> reader) const {
  return std::make_shared<Attempt>(address_, stub_, context, clock_, std::move(reader));
}

void WorkerClient::CountTokens(const v1::WorkerCountTokensRequest& request,
                               const CallContext& context,
                               std::function<void(CountResult)> on_done) const {
  struct Call {
    explicit Call(std::shared_ptr<WorkerStub> stub) : tie(std::move(stub)) {}
    ChannelTie tie;
    v1::WorkerCountTokensRequest request;
    v1::WorkerCountTokensResponse response;
  };
  auto call = std::make_shared<Call>(stub_);
  call->request = request;
  Prepare(context, clock_, call->tie.context());
  stub_->calls.async()->CountTokens(
      &call->tie.context(), &call->request, &call->response,
      [call, worker = address_, on_done = std::move(on_done)](const grpc::Status& status) {
        call->tie.LetGo();
        if (status.ok()) {
          on_done(std::move(call->response));
        } else {
          on_done(ForClient(rpc::FromGrpc(status), worker));
        }
      });
}

std::shared_ptr<StatusWatch> WorkerClient::Watch(
    std::function<void(decision::WorkerStatus)> on_status,
    std::function<void(absl::Status)> on_end) const {
  auto watcher = std::make_shared<Watcher>(stub_, std::move(on_status), std::move(on_end));
  watcher->Start();
  return watcher;
}

}  // namespace thinkwire::router::fleet
