#include "worker/serve/service.h"

#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/rpc/deadline.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/server_call.h"
#include "common/rpc/status_details.h"
#include "common/status.h"

namespace thinkwire::worker::serve {
namespace {

// Messages that wait behind the one that gRPC is sending.
constexpr std::size_t kMessageCapacity = 8;

constexpr Clock::Duration kDefaultStatusInterval = std::chrono::milliseconds(100);
constexpr Clock::Duration kMinStatusInterval = std::chrono::milliseconds(10);

std::string MetadataOf(const grpc::CallbackServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return "";
  return std::string(found->second.data(), found->second.size());
}

absl::Status Draining() {
  return rpc::Error(absl::StatusCode::kUnavailable, "DRAINING",
                    "the worker is shutting down and takes no new requests");
}

absl::StatusOr<Clock::Duration> StatusInterval(const v1::WatchStatusRequest& request) {
  if (!request.has_min_interval()) return kDefaultStatusInterval;
  const Clock::Duration interval = rpc::ReadDuration(request.min_interval());
  if (interval < kMinStatusInterval || interval > StatusBoard::kHeartbeat) {
    return rpc::InvalidField("min_interval", "must be in [10 ms, 1 s]");
  }
  return interval;
}

absl::StatusOr<grpc::ByteBuffer> AnswerNow(const grpc::ByteBuffer& /*bytes*/) {
  return rpc::Error(absl::StatusCode::kUnimplemented, "METHOD_NOT_IMPLEMENTED",
                    "AnswerNow is not built");
}

}  // namespace

// One Generate call: reads the prompt on the text pool, then hands over to a ResponseStream.
class WorkerService::GenerateCall final : public rpc::ServerCall, public ResponseSink {
 public:
  GenerateCall(WorkerService& service, const grpc::CallbackServerContext& context)
      : ServerCall(kMessageCapacity),
        service_(service),
        deadline_(rpc::DeadlineOf(context, service.shared_.clock)),
        call_{.request_id = "",
              .traceparent = MetadataOf(context, "traceparent"),
              .arrival = service.shared_.clock.Now()} {}

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
  void OnRefused(const absl::Status& status) override {
    ResponseStream::Refuse(service_.shared_, call_, status);
  }

  // Has the request read on the text pool, soon.
  // Fails: RESOURCE_EXHAUSTED too much is in hand already.
  absl::Status Post() {
    ASSIGN_OR_RETURN(rpc::LargeRequests::Share large,
                     service_.large_requests_.Admit(bytes_.Length()));
    auto in_hand = std::make_shared<InHand>(InHand{service_.running_.Begin(), std::move(large)});
    {
      MutexLock lock(mu_);
      in_hand_ = in_hand;
    }
    auto self = std::static_pointer_cast<GenerateCall>(shared_from_this());
    if (service_.shared_.pool.TryPost(bytes_.Length(),
                                      [self, held = std::move(in_hand)] { self->Read(); })) {
      return absl::OkStatus();
    }
    return service_.TextPoolIsFull();
  }

  // Ends the call before the engine has it.
  void Refuse(const absl::Status& status) {
    ResponseStream::Refuse(service_.shared_, call_, status);
    Finish(status);
  }

  // On the text pool.
  void Read() {
    if (const absl::Status status = Begin(); !status.ok()) Refuse(status);
  }

  absl::Status Begin() {
    v1::WorkerGenerateRequest request;
    RETURN_IF_ERROR(rpc::ParseRequest(bytes_, request));
    bytes_.Clear();
    RETURN_IF_ERROR(rpc::CheckRequest(request));
    call_.request_id = request.request_id();
    call_.attempt = request.attempt();
    const std::string& fingerprint = service_.shared_.model.fingerprint;
    if (!request.expected_fingerprint().empty() && request.expected_fingerprint() != fingerprint) {
      return rpc::Error(absl::StatusCode::kFailedPrecondition, "FINGERPRINT_MISMATCH",
                        absl::StrCat("this worker's fingerprint is ", fingerprint,
                                     ", not the expected ", request.expected_fingerprint()));
    }
    ASSIGN_OR_RETURN(RequestReader::Reading reading, service_.reader_.Read(request.request()));
    reading.request.id = request.request_id();
    reading.request.deadline = deadline_;
    return Start(std::move(reading));
  }

  absl::Status Start(RequestReader::Reading reading) {
    {
      MutexLock lock(mu_);
      if (cancelled_) {
        return rpc::CancelStatus(deadline_, call_.arrival, service_.shared_.clock.Now());
      }
    }
    auto sink = std::static_pointer_cast<GenerateCall>(shared_from_this());
    auto stream =
        ResponseStream::Start(service_.shared_, call_, std::move(reading), std::move(sink));
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

  void OnDrained() override {
    if (const auto stream = Stream()) stream->Resume();
  }
  void OnCancelled() override { CancelStream(); }
  void OnEnded() override {
    CancelStream();
    MutexLock lock(mu_);
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
    rpc::LargeRequests::Share large;
  };
  const std::optional<Clock::TimePoint> deadline_;
  grpc::ByteBuffer bytes_;  // from OnMessage until they are parsed
  ResponseStream::Call call_;
  Mutex mu_;
  std::shared_ptr<InHand> in_hand_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<ResponseStream> stream_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
};

// One CountTokens call: answered on the text pool.
class WorkerService::CountCall final : public rpc::ServerCall {
 public:
  explicit CountCall(WorkerService& service) : ServerCall(1), service_(service) {}

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    auto large = service_.large_requests_.Admit(bytes.Length());
    if (!large.ok()) return Finish(large.status());
    const std::size_t size = bytes.Length();
    auto self = std::static_pointer_cast<CountCall>(shared_from_this());
    self->in_hand_ = {service_.running_.Begin(), *std::move(large)};
    if (service_.shared_.pool.TryPost(size,
                                      [self, bytes = std::move(bytes)] { self->Count(bytes); }))
      return;
    in_hand_ = {};
    Finish(service_.TextPoolIsFull());
  }

  void Count(const grpc::ByteBuffer& bytes) {
    const auto count = service_.Count(bytes);
    if (count.ok()) Write(*count);
    Finish(count.status());
    in_hand_ = {};  // the service may go now
  }

  WorkerService& service_;
  struct {
    rpc::CallCount::Token running;
    rpc::LargeRequests::Share large;
  } in_hand_;  // OnMessage's, then the job's
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
                             StatusBoard& board)
    : shared_(shared), reader_(reader), board_(board) {
  const std::string service = v1::WorkerService::service_full_name();
  AddMethod(service, "Generate", [this](const grpc::CallbackServerContext& context) {
    return std::make_shared<GenerateCall>(*this, context);
  });
  AddMethod(service, "WatchStatus", [this](const grpc::CallbackServerContext& /*context*/) {
    return std::make_shared<WatchCall>(board_);
  });
  AddMethod(service, "CountTokens", [this](const grpc::CallbackServerContext& /*context*/) {
    return std::make_shared<CountCall>(*this);
  });
  AddMethodOfOneAnswer(service, "AnswerNow", AnswerNow);
}

WorkerService::~WorkerService() = default;

void WorkerService::StartDraining() {
  draining_ = true;
  board_.SetDraining();
}

bool WorkerService::WaitUntilIdle(Clock::Duration timeout) {
  return running_.WaitUntilNone(timeout);
}

absl::Status WorkerService::TextPoolIsFull() const {
  return rpc::WithRetryAfter(
      rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                 absl::StrCat("more than ", shared_.model.max_queue, " prompts wait to be read")));
}

absl::StatusOr<v1::WorkerCountTokensResponse> WorkerService::Count(
    const grpc::ByteBuffer& bytes) const {
  v1::WorkerCountTokensRequest request;
  RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
  RETURN_IF_ERROR(rpc::CheckRequest(request.request()));
  ASSIGN_OR_RETURN(
      const std::vector<std::int32_t> ids,
      reader_.ReadPrompt(request.request().prompt(), request.request().thinking_mode()));
  v1::WorkerCountTokensResponse count;
  count.set_prompt_tokens(static_cast<std::int32_t>(ids.size()));
  if (request.request().return_token_ids()) {
    count.mutable_token_ids()->Assign(ids.begin(), ids.end());
  }
  count.set_max_model_len(shared_.model.limits.max_model_len);
  return count;
}

}  // namespace thinkwire::worker::serve
