#include "router/service.h"

#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/log.h"
#include "common/rpc/deadline.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_writer.h"
#include "common/status.h"
#include "router/decision/variant_names.h"
#include "router/fleet/worker_client.h"

namespace thinkwire::router {
namespace {

// Messages that wait behind the one that gRPC is sending.
constexpr std::size_t kMessageCapacity = 8;
// Longer ones are no W3C trace context.
constexpr std::size_t kMaxTraceparentBytes = 128;
constexpr std::chrono::seconds kCountTokensLimit{30};
// Streams of workers that were cancelled end at once; more than this is a bug.
constexpr std::chrono::seconds kPatience{60};
constexpr std::int32_t kDefaultPageSize = 100;
constexpr std::int32_t kMaxPageSize = 1000;

std::optional<Task> ReadTask(v1::Task task) {
  switch (task) {
    case v1::TASK_GENERAL:
      return Task::kGeneral;
    case v1::TASK_MATH:
      return Task::kMath;
    case v1::TASK_CODE:
      return Task::kCode;
    case v1::TASK_SCIENCE:
      return Task::kScience;
    case v1::TASK_WRITING:
      return Task::kWriting;
    case v1::TASK_EXTRACTION:
      return Task::kExtraction;
    default:
      return std::nullopt;
  }
}

v1::Task MakeTask(Task task) {
  for (int value = v1::Task_MIN; value <= v1::Task_MAX; ++value) {
    if (ReadTask(static_cast<v1::Task>(value)) == task) return static_cast<v1::Task>(value);
  }
  return v1::TASK_UNSPECIFIED;
}

// GenerateRequest and CountTokensRequest ask for a variant in the same words.
template <class Request>
decision::Query MakeQuery(const Request& request) {
  decision::Query query;
  query.variant = request.variant();
  query.task = ReadTask(request.wishes().task());
  query.prompt_bytes = request.prompt().text().size();
  for (const v1::ChatMessage& message : request.prompt().chat().messages()) {
    query.prompt_bytes += message.content().size();
  }
  return query;
}

fleet::CallContext MakeContext(const grpc::CallbackServerContext& context, const Clock& clock) {
  fleet::CallContext call;
  call.deadline = rpc::DeadlineOf(context, clock);
  const auto found = context.client_metadata().find("traceparent");
  if (found != context.client_metadata().end() && found->second.size() <= kMaxTraceparentBytes) {
    call.traceparent.assign(found->second.data(), found->second.size());
  }
  return call;
}

std::uint64_t RandomBits() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

void SetDuration(Clock::Duration duration, google::protobuf::Duration* out) {
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
  out->set_seconds(nanos / 1'000'000'000);
  out->set_nanos(static_cast<std::int32_t>(nanos % 1'000'000'000));
}

grpc::ServerUnaryReactor* FinishUnary(grpc::CallbackServerContext* context,
                                      const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(rpc::ToGrpc(status));
  return reactor;
}

absl::Status Draining() {
  return rpc::Error(absl::StatusCode::kUnavailable, "DRAINING",
                    "the router is shutting down and takes no new requests");
}

}  // namespace

// One Generate call: chooses variant and worker, then passes the worker's events on, one at a time
// and as fast as the client reads.
class ReasoningService::GenerateCall final : public rpc::StreamWriter,
                                             public fleet::WorkerAttempt::Reader {
 public:
  GenerateCall(ReasoningService& service, const grpc::CallbackServerContext& context)
      : StreamWriter(kMessageCapacity),
        service_(service),
        context_(MakeContext(context, service.shared_.clock)),
        arrival_(service.shared_.clock.Now()),
        request_id_(absl::StrFormat("%016x%016x", RandomBits(), RandomBits())) {}

  // Neither the client's stream nor the worker's holds it any more.
  ~GenerateCall() override {
    large_ = {};  // before the service may go
    service_.OnGenerateEnded();
  }

  // REQUIRES: owned by a shared pointer, and not launched yet.
  void Begin(const grpc::ByteBuffer& bytes) {
    if (absl::Status status = TryBegin(bytes); !status.ok()) End(status);
  }

 private:
  absl::Status TryBegin(const grpc::ByteBuffer& bytes) {
    if (service_.draining_) return Draining();
    ASSIGN_OR_RETURN(large_, service_.large_requests_.Admit(bytes.Length()));
    v1::WorkerGenerateRequest request;
    v1::GenerateRequest& asked = *request.mutable_request();
    RETURN_IF_ERROR(rpc::ParseRequest(bytes, asked));
    RETURN_IF_ERROR(rpc::CheckRequest(asked));
    RETURN_IF_ERROR(Lease(MakeQuery(asked)));
    if (!asked.has_seed()) asked.set_seed(RandomBits());
    request.set_request_id(request_id_);
    request.set_attempt(1);
    auto self = std::static_pointer_cast<GenerateCall>(shared_from_this());
    auto attempt = lease_->client().Generate(request, context_, std::move(self));
    {
      MutexLock lock(mu_);
      attempt_ = attempt;
    }
    attempt->Start();
    return absl::OkStatus();
  }

  absl::Status Lease(const decision::Query& query) {
    auto lease = service_.shared_.pool.Lease(service_.shared_.policy, query);
    if (!lease.ok()) {
      variant_ = rpc::ErrorMetadata(lease.status(), "variant");
      return lease.status();
    }
    lease_.emplace(*std::move(lease));
    const std::size_t variant = lease_->decision().variant;
    variant_ = service_.shared_.config.variants[variant].name;
    meter_.emplace(service_.shared_.metrics.streams(variant), arrival_);
    return absl::OkStatus();
  }

  // WorkerAttempt::Reader.
  bool OnEvent(v1::GenerateResponse event) override {
    Complete(event);
    {
      MutexLock lock(mu_);
      waiting_ = std::move(event);
    }
    return Flush() == Flushed::kAtOnce;
  }
  void OnEnd(const absl::Status& status) override {
    {
      MutexLock lock(mu_);
      attempt_.reset();
      ended_ = status;
    }
    Flush();
  }

  enum class Flushed { kAtOnce, kLater };

  // Writes the event that waits, then the end. Called wherever one of them, or room, is new.
  Flushed Flush() {
    std::shared_ptr<fleet::WorkerAttempt> go_on;
    std::optional<absl::Status> end;
    Flushed result = Flushed::kAtOnce;
    {
      MutexLock lock(mu_);
      if (waiting_) {
        if (!cancelled_ && !Write(*waiting_)) {
          paused_ = true;
          return Flushed::kLater;
        }
        waiting_.reset();
        if (std::exchange(paused_, false)) go_on = attempt_;
      }
      if (ended_ && !end_told_) {
        end_told_ = true;
        end = cancelled_ ? CancelStatus() : *ended_;
      }
    }
    if (go_on) go_on->ReadMore();
    if (end) End(*end);
    return result;
  }

  // gRPC cancels a call whose deadline has passed; whichever was first, it was the deadline.
  absl::Status CancelStatus() const {
    const Clock::TimePoint now = service_.shared_.clock.Now();
    if (context_.deadline && now + rpc::DeadlineSlack(now - arrival_) >= *context_.deadline) {
      return absl::DeadlineExceededError("the deadline has passed");
    }
    return absl::CancelledError("the client has cancelled");
  }

  // Adds what only the router knows, and counts.
  void Complete(v1::GenerateResponse& event) {
    const Clock::TimePoint now = service_.shared_.clock.Now();
    const auto count = [&](StreamPhase phase, int tokens) {
      meter_->AddTokens(phase, tokens, now);
    };
    if (event.has_started()) {
      v1::Started& started = *event.mutable_started();
      started.set_request_id(request_id_);
      started.set_variant(variant_);
      started.set_worker(lease_->client().address());
      started.set_variant_reason(lease_->decision().variant_reason);
      started.set_worker_reason(lease_->decision().worker_reason);
      meter_->Start(started.prompt_tokens(), started.cached_prompt_tokens(), now);
    } else if (event.has_reasoning_delta()) {
      count(StreamPhase::kReasoning, event.reasoning_delta().token_ids_size());
    } else if (event.has_reasoning_finished()) {
      count(StreamPhase::kReasoning, event.reasoning_finished().token_ids_size());
    } else if (event.has_answer_delta()) {
      count(StreamPhase::kAnswer, event.answer_delta().token_ids_size());
    } else if (event.has_finished()) {
      count(StreamPhase::kAnswer, event.finished().token_ids_size());
    } else if (event.has_completed()) {
      discarded_tokens_ = event.completed().usage().discarded_tokens();
      SetDuration(now - arrival_, event.mutable_completed()->mutable_timings()->mutable_total());
    }
  }

  void End(const absl::Status& status) {
    const std::string code = absl::StatusCodeToString(status.code());
    const Clock::TimePoint now = service_.shared_.clock.Now();
    // A request that was refused had no times.
    const bool waited = absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
    if (meter_ && (meter_->started() || waited)) meter_->End(discarded_tokens_, now);
    const TokenCounts tokens = meter_ ? meter_->counts() : TokenCounts{};
    const StreamPhase phase = meter_ ? meter_->phase() : StreamPhase::kNone;
    service_.shared_.metrics.EndRequest(variant_, code, phase);
    LogInfo("request ended", {{"request_id", request_id_},
                              {"traceparent", context_.traceparent},
                              {"variant", variant_},
                              {"worker", lease_ ? lease_->client().address() : ""},
                              {"code", code},
                              {"reason", status.ok() ? "" : rpc::ErrorReason(status)},
                              {"phase", ToString(phase)},
                              {"prompt_tokens", tokens.prompt},
                              {"cached_prompt_tokens", tokens.cached_prompt},
                              {"reasoning_tokens", tokens.reasoning},
                              {"answer_tokens", tokens.answer},
                              {"discarded_tokens", tokens.discarded},
                              {"total_s", ToSeconds(now - arrival_)}});
    lease_.reset();
    Finish(status);
  }

  // rpc::StreamWriter.
  void OnDrained() override { Flush(); }
  void OnCancelled() override {
    std::shared_ptr<fleet::WorkerAttempt> attempt;
    {
      MutexLock lock(mu_);
      cancelled_ = true;
      attempt = attempt_;
    }
    if (attempt) attempt->Cancel();
    Flush();  // drops what waits, so that an end that is known already can be told
  }

  ReasoningService& service_;
  const fleet::CallContext context_;
  const Clock::TimePoint arrival_;
  const std::string request_id_;

  // Set by Begin, then one hook at a time.
  rpc::LargeRequests::Share large_;
  std::string variant_;
  std::optional<fleet::WorkerLease> lease_;
  std::optional<StreamMeter> meter_;  // once a variant is chosen
  std::int32_t discarded_tokens_ = 0;

  Mutex mu_;
  std::shared_ptr<fleet::WorkerAttempt> attempt_ ABSL_GUARDED_BY(mu_);
  std::optional<v1::GenerateResponse> waiting_ ABSL_GUARDED_BY(mu_);  // did not fit yet
  bool paused_ ABSL_GUARDED_BY(mu_) = false;  // the attempt waits for ReadMore
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mu_);
  bool end_told_ ABSL_GUARDED_BY(mu_) = false;
};

ReasoningService::ReasoningService(const Shared& shared) : shared_(shared) {}

ReasoningService::~ReasoningService() { WaitUntilIdle(kPatience); }

void ReasoningService::StartDraining() { draining_ = true; }

bool ReasoningService::WaitUntilIdle(Clock::Duration timeout) {
  const auto give_up = std::chrono::steady_clock::now() + timeout;
  MutexLock lock(mu_);
  while (num_generating_ > 0) {
    const auto left = give_up - std::chrono::steady_clock::now();
    if (left <= Clock::Duration::zero()) return false;
    idle_.WaitFor(mu_, left);
  }
  return true;
}

void ReasoningService::OnGenerateEnded() {
  MutexLock lock(mu_);
  if (--num_generating_ == 0) idle_.NotifyAll();
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* ReasoningService::Generate(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes) {
  {
    MutexLock lock(mu_);
    ++num_generating_;
  }
  shared_.metrics.BeginRequest();
  auto call = std::make_shared<GenerateCall>(*this, *context);
  call->Begin(*bytes);
  return rpc::StreamWriter::Launch(std::move(call));
}

grpc::ServerUnaryReactor* ReasoningService::AnswerNow(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* bytes,
                                                      grpc::ByteBuffer* /*response*/) {
  v1::AnswerNowRequest request;
  absl::Status status = rpc::ParseRequest(*bytes, request);
  if (status.ok()) {
    status = rpc::Error(absl::StatusCode::kUnimplemented, "METHOD_NOT_IMPLEMENTED",
                        "AnswerNow is not built");
  }
  return FinishUnary(context, status);
}

grpc::ServerUnaryReactor* ReasoningService::CountTokens(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* bytes,
                                                        grpc::ByteBuffer* response) {
  auto large = large_requests_.Admit(bytes->Length());
  if (!large.ok()) return FinishUnary(context, large.status());
  v1::WorkerCountTokensRequest request;
  absl::Status status = rpc::ParseRequest(*bytes, *request.mutable_request());
  if (status.ok()) status = rpc::CheckRequest(request.request());
  if (!status.ok()) return FinishUnary(context, status);
  auto lease = shared_.pool.Lease(shared_.policy, MakeQuery(request.request()));
  if (!lease.ok()) return FinishUnary(context, lease.status());

  fleet::CallContext call = MakeContext(*context, shared_.clock);
  const Clock::TimePoint limit = shared_.clock.Now() + kCountTokensLimit;
  call.deadline = std::min(call.deadline.value_or(limit), limit);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  struct Held {
    fleet::WorkerLease lease;
    rpc::LargeRequests::Share large;
  };
  auto held = std::make_shared<std::optional<Held>>(Held{*std::move(lease), *std::move(large)});
  held->value().lease.client().CountTokens(
      request, call,
      [reactor, response, held, variant = shared_.config.variants[lease->decision().variant].name](
          const fleet::WorkerClient::CountResult& r) {
        if (r.ok()) {
          v1::CountTokensResponse count;
          count.set_variant(variant);
          count.set_prompt_tokens(r->prompt_tokens());
          *count.mutable_token_ids() = r->token_ids();
          count.set_max_model_len(r->max_model_len());
          *response = rpc::Serialize(count);
        }
        held->reset();  // before the call is over, as pool and service may then go
        reactor->Finish(rpc::ToGrpc(r.status()));
      });
  return reactor;
}

grpc::ServerUnaryReactor* ReasoningService::ListVariants(grpc::CallbackServerContext* context,
                                                         const grpc::ByteBuffer* bytes,
                                                         grpc::ByteBuffer* response) {
  return FinishUnary(context, List(*bytes, response));
}

absl::Status ReasoningService::List(const grpc::ByteBuffer& bytes,
                                    grpc::ByteBuffer* response) const {
  v1::ListVariantsRequest request;
  RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
  if (request.page_size() < 0 || request.page_size() > kMaxPageSize) {
    return rpc::InvalidField(
        "page_size", absl::StrCat("must be in [0, ", kMaxPageSize, "], is ", request.page_size()));
  }
  const std::int32_t page_size = request.page_size() > 0 ? request.page_size() : kDefaultPageSize;
  // A page token is the last name of the page before.
  std::vector<std::pair<std::string, std::size_t>> names;
  for (std::size_t i = 0; i < shared_.config.variants.size(); ++i) {
    const std::string& name = shared_.config.variants[i].name;
    if (request.page_token().empty() || name > request.page_token()) names.emplace_back(name, i);
  }
  std::ranges::sort(names);
  v1::ListVariantsResponse page;
  for (const auto& [name, index] : names) {
    if (page.variants_size() == page_size) {
      page.set_next_page_token(page.variants().rbegin()->name());
      break;
    }
    *page.add_variants() = Describe(index);
  }
  *response = rpc::Serialize(page);
  return absl::OkStatus();
}

v1::Variant ReasoningService::Describe(std::size_t index) const {
  const VariantConfig& config = shared_.config.variants[index];
  const fleet::WorkerPool::VariantState state = shared_.pool.Describe(index);
  v1::Variant variant;
  variant.set_name(config.name);
  for (const std::string& alias : config.aliases) variant.add_aliases(alias);
  for (const std::string& alias : decision::KnownAliases(config.name)) variant.add_aliases(alias);
  variant.set_configured_workers(state.configured);
  variant.set_live_workers(state.live);
  variant.set_draining_workers(state.draining);
  variant.set_queued(state.queued);
  variant.set_running(state.running);
  variant.set_max_model_len(state.max_model_len);
  for (const Task task : config.tasks) variant.add_tasks(MakeTask(task));
  variant.mutable_fingerprints()->Assign(state.fingerprints.begin(), state.fingerprints.end());
  return variant;
}

}  // namespace thinkwire::router
