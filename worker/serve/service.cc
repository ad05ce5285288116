#include "worker/serve/service.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/deadline.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/server_call.h"
#include "common/rpc/status_details.h"
#include "common/rpc/traceparent.h"
#include "common/status.h"
#include "common/steering_limits.h"
#include "worker/serve/answer_now_call.h"

namespace thinkwire::worker::serve {
namespace {

// Messages that wait behind the one that gRPC is sending.
constexpr std::size_t kMessageCapacity = 8;

constexpr Clock::Duration kDefaultStatusInterval = std::chrono::milliseconds(100);
constexpr Clock::Duration kMinStatusInterval = std::chrono::milliseconds(10);

absl::Status QueueFull(const std::string& what) {
  return rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL", what));
}

absl::Status Draining() {
  return rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kUnavailable, "DRAINING",
                                        "the worker is shutting down and takes no new requests"));
}

absl::StatusOr<Clock::Duration> StatusInterval(const v1::WatchStatusRequest& request) {
  if (!request.has_min_interval()) return kDefaultStatusInterval;
  const Clock::Duration interval = rpc::ReadDuration(request.min_interval());
  if (interval < kMinStatusInterval || interval > StatusBoard::kHeartbeat) {
    return rpc::InvalidField("min_interval", "must be in [10 ms, 1 s]");
  }
  return interval;
}

}  // namespace

// One Generate call: reads the prompt on the text pool, and says now and then that it is alive as
// long as that takes, then hands over to a ResponseStream.
class WorkerService::GenerateCall final : public rpc::ServerCall,
                                          public ResponseSink,
                                          public Heartbeats::Stream {
 public:
  GenerateCall(WorkerService& service, const grpc::CallbackServerContext& context)
      : ServerCall(kMessageCapacity),
        service_(service),
        peer_(service.PeerOf(context)),
        tenant_(rpc::TenantOfPeer(context)),
        deadline_(rpc::DeadlineOf(context, service.shared_.clock)),
        call_{.request_id = "",
              .traceparent = rpc::TraceparentOf(context),
              .arrival = service.shared_.clock.Now(),
              .peer = peer_},
        spoke_at_(call_.arrival) {}

  bool Write(const v1::WorkerGenerateResponse& message) override {
    return ServerCall::Write(message);
  }
  void Finish(const absl::Status& status) override {
    ServerCall::Finish(status);
    MutexLock lock(mu_);
    in_hand_.reset();
  }

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    bytes_.Swap(&bytes);
    const absl::Status status = service_.draining_ ? Draining() : Post();
    if (!status.ok()) Refuse(status);
  }
  void Beat() override {
    const Clock::TimePoint now = service_.shared_.clock.Now();
    MutexLock lock(signs_mu_);
    if (is_read_ || now - spoke_at_ < service_.shared_.sign_interval) return;
    spoke_at_ = now;
    Write(v1::WorkerGenerateResponse());
  }
  // The stream speaks from now on.
  void EndSigns() {
    MutexLock lock(signs_mu_);
    is_read_ = true;
  }

  void OnRefused(const absl::Status& status) override {
    ResponseStream::Refuse(service_.shared_, call_, status);
  }

  // Has the request read on the text pool, soon.
  // Fails: RESOURCE_EXHAUSTED too much is in hand already.
  absl::Status Post() {
    ASSIGN_OR_RETURN(rpc::RequestBytes::Held bytes,
                     service_.request_bytes_.Admit(peer_, bytes_.Length()));
    auto in_hand = std::make_shared<InHand>(InHand{service_.running_.Begin(), std::move(bytes)});
    {
      MutexLock lock(mu_);
      in_hand_ = in_hand;
    }
    auto self = std::static_pointer_cast<GenerateCall>(shared_from_this());
    service_.heartbeats_.Add(self);
    const bool posted = service_.shared_.pool.TryPost(
        peer_, bytes_.Length(), [self, held = std::move(in_hand)] { self->Read(held->bytes); });
    return posted ? absl::OkStatus() : service_.TextPoolIsFull();
  }

  // Ends the call before the engine has it.
  void Refuse(const absl::Status& status) {
    ResponseStream::Refuse(service_.shared_, call_, status);
    Finish(status);
  }

  // On the text pool.
  void Read(rpc::RequestBytes::Held& held) {
    if (const absl::Status status = Begin(held); !status.ok()) Refuse(status);
  }

  absl::Status Begin(rpc::RequestBytes::Held& held) {
    RETURN_IF_ERROR(CheckWanted());
    v1::WorkerGenerateRequest request;
    RETURN_IF_ERROR(rpc::ParseRequest(bytes_, request));
    bytes_.Clear();
    RETURN_IF_ERROR(held.Resize(request.SpaceUsedLong()));
    RETURN_IF_ERROR(rpc::CheckRequest(request));
    call_.request_id = request.request_id();
    call_.attempt = request.attempt();
    const std::string& fingerprint = service_.shared_.model.fingerprint;
    if (!request.expected_fingerprint().empty() && request.expected_fingerprint() != fingerprint) {
      return rpc::Error(absl::StatusCode::kFailedPrecondition, "FINGERPRINT_MISMATCH",
                        absl::StrCat("this worker's fingerprint is ", fingerprint,
                                     ", not the expected ", request.expected_fingerprint()));
    }
    if (!deadline_ && request.request().thinking().budget_from_deadline()) {
      return rpc::InvalidField("thinking.budget_from_deadline",
                               "must be unset: the call has no deadline");
    }
    ASSIGN_OR_RETURN(
        RequestReader::Reading reading,
        service_.reader_.Read(request.request(), request.has_resume() ? &request.resume() : nullptr,
                              request.end_without_answer()));
    reading.request.id = request.request_id();
    reading.request.peer = peer_;
    reading.request.deadline = deadline_;
    RETURN_IF_ERROR(held.Resize(reading.bytes()));
    return Start(std::move(reading));
  }

  // Fails: the client is gone.
  absl::Status CheckWanted() {
    MutexLock lock(mu_);
    if (!cancelled_) return absl::OkStatus();
    return rpc::CancelStatus(deadline_, call_.arrival, service_.shared_.clock.Now());
  }

  absl::Status Start(RequestReader::Reading reading) {
    RETURN_IF_ERROR(CheckWanted());
    ASSIGN_OR_RETURN(rpc::Shares::Held place, service_.TakePlaces(peer_, reading.num_to_run()));
    auto sink = std::static_pointer_cast<GenerateCall>(shared_from_this());
    EndSigns();
    auto stream = ResponseStream::Make(service_.shared_, call_, std::move(reading), std::move(sink),
                                       std::move(place));
    // A client that has heard of it may ask for its answer.
    EnterStream(stream);
    stream->Begin();
    service_.heartbeats_.Add(stream);
    bool cancelled = false;
    {
      MutexLock lock(mu_);
      stream_ = stream;
      cancelled = cancelled_;
    }
    // The sink may have been full, or gone, before stream_ was known here.
    cancelled ? stream->Cancel() : stream->Resume();
    return absl::OkStatus();
  }

  void EnterStream(const std::shared_ptr<ResponseStream>& stream) {
    MutexLock lock(mu_);
    running_stream_ = service_.streams_.Enter(call_.request_id, tenant_, stream);
  }

  void OnDrained() override {
    if (const auto stream = Stream()) stream->Resume();
  }
  void OnCancelled() override { CancelStream(); }
  void OnEnded() override {
    CancelStream();
    MutexLock lock(mu_);
    running_stream_ = {};
    stream_.reset();
    in_hand_.reset();
  }

  void CancelStream() {
    {
      MutexLock lock(mu_);
      cancelled_ = true;
    }
    if (const auto stream = Stream()) stream->Cancel();
  }
  std::shared_ptr<ResponseStream> Stream() {
    MutexLock lock(mu_);
    return stream_;
  }

  WorkerService& service_;
  // What the service counts of a request, from its message to its end or its job's, whichever is
  // later: the job of a call that has ended still starts the stream, and cancels it.
  struct InHand {
    rpc::CallCount::Token running;
    rpc::RequestBytes::Held bytes;  // the job's alone
  };
  const std::string peer_;
  const std::string tenant_;  // whose the request is
  const std::optional<Clock::TimePoint> deadline_;
  grpc::ByteBuffer bytes_;  // from OnMessage until they are parsed
  ResponseStream::Call call_;
  Mutex signs_mu_;
  Clock::TimePoint spoke_at_ ABSL_GUARDED_BY(signs_mu_);
  bool is_read_ ABSL_GUARDED_BY(signs_mu_) = false;
  Mutex mu_;
  std::shared_ptr<InHand> in_hand_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<ResponseStream> stream_ ABSL_GUARDED_BY(mu_);
  RunningStreams::Entry running_stream_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

// One CountTokens call: answered on the text pool. What it takes counts until the transport has
// taken the answer, which is as long as the prompt if its ids are asked for.
class WorkerService::CountCall final : public rpc::ServerCall {
 public:
  CountCall(WorkerService& service, const grpc::CallbackServerContext& context)
      : ServerCall(1), service_(service), peer_(service.PeerOf(context)) {}

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    bytes_.Swap(&bytes);
    if (const absl::Status status = Post(); !status.ok()) End(status);
  }
  void OnCancelled() override { cancelled_ = true; }

  absl::Status Post() {
    running_ = service_.running_.Begin();
    ASSIGN_OR_RETURN(held_, service_.request_bytes_.Admit(peer_, bytes_.Length()));
    auto self = std::static_pointer_cast<CountCall>(shared_from_this());
    const bool posted =
        service_.shared_.pool.TryPost(peer_, bytes_.Length(), [self] { self->End(self->Count()); });
    return posted ? absl::OkStatus() : service_.TextPoolIsFull();
  }

  // On the text pool.
  absl::Status Count() {
    if (cancelled_) return absl::CancelledError("the client is gone");
    v1::WorkerCountTokensRequest request;
    RETURN_IF_ERROR(rpc::ParseRequest(bytes_, request));
    bytes_.Clear();
    RETURN_IF_ERROR(held_.Resize(request.SpaceUsedLong()));
    RETURN_IF_ERROR(rpc::CheckRequest(request.request()));
    ASSIGN_OR_RETURN(
        const std::vector<std::int32_t> ids,
        service_.reader_.ReadPrompt(request.request().prompt(), request.request().thinking_mode()));
    return Answer(ids, request.request().return_token_ids());
  }

  absl::Status Answer(const std::vector<std::int32_t>& ids, bool with_ids) {
    v1::WorkerCountTokensResponse count;
    count.set_prompt_tokens(static_cast<std::int32_t>(ids.size()));
    if (with_ids) count.mutable_token_ids()->Assign(ids.begin(), ids.end());
    count.set_max_model_len(service_.shared_.model.limits.context());
    RETURN_IF_ERROR(held_.Resize(count.ByteSizeLong()));
    Write(count);
    return absl::OkStatus();
  }

  void End(const absl::Status& status) {
    Finish(status);
    running_ = {};  // the service may go now
  }

  WorkerService& service_;
  const std::string peer_;
  std::atomic<bool> cancelled_ = false;
  // OnMessage's, then the job's.
  grpc::ByteBuffer bytes_;
  rpc::CallCount::Token running_;
  rpc::RequestBytes::Held held_;  // until nobody has the call any more
};

// One WatchStatus call.
class WorkerService::WatchCall final : public rpc::ServerCall, public StatusBoard::Watcher {
 public:
  explicit WatchCall(StatusBoard& board) : ServerCall(1), board_(board) {}

  bool Tell(const v1::WatchStatusResponse& status) override { return Write(status); }
  void End() override {
    Finish(
        rpc::Error(absl::StatusCode::kUnavailable, "SHUTTING_DOWN", "the worker is shutting down"));
  }

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    if (absl::Status status = Begin(bytes); !status.ok()) Finish(std::move(status));
  }
  void OnEnded() override { board_.Remove(Self()); }

  absl::Status Begin(const grpc::ByteBuffer& bytes) {
    v1::WatchStatusRequest request;
    RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
    ASSIGN_OR_RETURN(const Clock::Duration interval, StatusInterval(request));
    return board_.Add(Self(), interval, peer());
  }

  std::shared_ptr<WatchCall> Self() {
    return std::static_pointer_cast<WatchCall>(shared_from_this());
  }

  StatusBoard& board_;
};

WorkerService::WorkerService(const ResponseStream::Shared& shared, const RequestReader& reader,
                             StatusBoard& board, Peers peers)
    : shared_(shared),
      reader_(reader),
      board_(board),
      peers_(std::move(peers)),
      heartbeats_(std::min<Clock::Duration>(shared.sign_interval / 5, kProgressInterval / 2)) {
  const std::string service = v1::WorkerService::service_full_name();
  AddMethod(service, "Generate", [this](const grpc::CallbackServerContext& context) {
    return std::make_shared<GenerateCall>(*this, context);
  });
  AddMethod(service, "WatchStatus", [this](const grpc::CallbackServerContext& /*context*/) {
    return std::make_shared<WatchCall>(board_);
  });
  AddMethod(service, "CountTokens", [this](const grpc::CallbackServerContext& context) {
    return std::make_shared<CountCall>(*this, context);
  });
  AddMethod(service, "AnswerNow", [this](const grpc::CallbackServerContext& context) {
    return std::make_shared<AnswerNowCall>(streams_, shared_.metrics, context);
  });
}

WorkerService::~WorkerService() = default;

void WorkerService::StartDraining() {
  draining_ = true;
  board_.SetDraining();
}

bool WorkerService::WaitUntilIdle(Clock::Duration timeout) {
  return running_.WaitUntilNone(timeout);
}

absl::Status WorkerService::Admit(const grpc::CallbackServerContext& context) const {
  if (!peers_.forwarders_only || peers_.forwarders.Contain(context.peer())) return absl::OkStatus();
  return rpc::Error(absl::StatusCode::kPermissionDenied, "PEER_NOT_TRUSTED",
                    "this worker takes calls of its routers alone");
}

std::string WorkerService::PeerOf(const grpc::CallbackServerContext& context) const {
  return rpc::CallPeer(context, peers_.trusted, peers_.forwarders);
}

absl::Status WorkerService::TextPoolIsFull() const {
  return QueueFull(absl::StrCat("prompts wait to be read: ", shared_.model.max_queue,
                                ", or the client's share of as many"));
}

absl::StatusOr<rpc::Shares::Held> WorkerService::TakePlaces(const std::string& peer,
                                                            std::int32_t outputs) const {
  if (outputs > shared_.places.total()) {
    return rpc::InvalidField(
        "n", absl::StrCat("must be at most ", shared_.places.total(),
                          ", the outputs that run or wait at this worker, is ", outputs));
  }
  std::optional<rpc::Shares::Held> place = shared_.places.Take(peer, std::max(1, outputs));
  if (place) return *std::move(place);
  return QueueFull(absl::StrCat("outputs run or wait: ", shared_.places.total(),
                                ", or the client's share of as many"));
}

}  // namespace thinkwire::worker::serve
