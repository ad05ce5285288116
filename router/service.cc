#include "router/service.h"

#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/deadline.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_writer.h"
#include "common/status.h"
#include "router/decision/variant_names.h"
#include "router/fleet/worker_client.h"
#include "router/query.h"

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

fleet::CallContext MakeContext(const grpc::CallbackServerContext& context, const Clock& clock) {
  fleet::CallContext call;
  call.deadline = rpc::DeadlineOf(context, clock);
  const auto found = context.client_metadata().find("traceparent");
  if (found != context.client_metadata().end() && found->second.size() <= kMaxTraceparentBytes) {
    call.traceparent.assign(found->second.data(), found->second.size());
  }
  return call;
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

// The client's end of one generation.
class ReasoningService::GenerateCall final : public rpc::StreamWriter, public EventSink {
 public:
  GenerateCall() : StreamWriter(kMessageCapacity) {}

  // Tells `generation` what becomes of the stream. Before Launch.
  void Feed(std::shared_ptr<Generation> generation) { generation_ = std::move(generation); }

  bool Write(const v1::GenerateResponse& event) override { return StreamWriter::Write(event); }
  void Finish(const absl::Status& status) override { StreamWriter::Finish(status); }

 private:
  void OnDrained() override { generation_->Resume(); }
  void OnCancelled() override { generation_->Cancel(); }
  void OnEnded() override { generation_.reset(); }  // which holds this

  std::shared_ptr<Generation> generation_;
};

// One CountTokens call, from the request to the answer of the worker that was chosen.
class ReasoningService::CountCall {
 public:
  CountCall(grpc::CallbackServerContext& context, grpc::ByteBuffer& response)
      : context_(context), response_(response) {}

  // Fails: what the client is told.
  absl::Status Read(ReasoningService& service, const grpc::ByteBuffer& bytes) {
    ASSIGN_OR_RETURN(large_, service.large_requests_.Admit(bytes.Length()));
    RETURN_IF_ERROR(rpc::ParseRequest(bytes, *request_.mutable_request()));
    RETURN_IF_ERROR(rpc::CheckRequest(request_.request()));
    ASSIGN_OR_RETURN(
        fleet::WorkerLease lease,
        service.shared_.pool.Lease(service.shared_.policy, MakeQuery(request_.request())));
    lease_.emplace(std::move(lease));
    variant_ = service.shared_.config.variants[lease_->decision().variant].name;
    return absl::OkStatus();
  }

  // Asks the worker; its answer ends the call. REQUIRES: Read was OK.
  static grpc::ServerUnaryReactor* Start(std::unique_ptr<CountCall> call, const Clock& clock) {
    fleet::CallContext context = MakeContext(call->context_, clock);
    const Clock::TimePoint limit = clock.Now() + kCountTokensLimit;
    context.deadline = std::min(context.deadline.value_or(limit), limit);
    const v1::WorkerCountTokensRequest request = std::move(call->request_);
    grpc::ServerUnaryReactor* reactor = call->context_.DefaultReactor();
    call->reactor_ = reactor;
    const std::shared_ptr<CountCall> self = std::move(call);
    self->lease_->client().CountTokens(
        request, context,
        [self](const fleet::WorkerClient::CountResult& result) { self->End(result); });
    return reactor;
  }

 private:
  void End(const fleet::WorkerClient::CountResult& result) {
    if (result.ok()) {
      v1::CountTokensResponse count;
      count.set_variant(variant_);
      count.set_prompt_tokens(result->prompt_tokens());
      *count.mutable_token_ids() = result->token_ids();
      count.set_max_model_len(result->max_model_len());
      response_ = rpc::Serialize(count);
    }
    // Before the call is over, as pool and service may then go.
    lease_.reset();
    large_ = {};
    reactor_->Finish(rpc::ToGrpc(result.status()));
  }

  grpc::CallbackServerContext& context_;  // gRPC's, as the response, until the call is over
  grpc::ByteBuffer& response_;
  v1::WorkerCountTokensRequest request_;  // until Start
  rpc::LargeRequests::Share large_;
  std::optional<fleet::WorkerLease> lease_;
  std::string variant_;
  grpc::ServerUnaryReactor* reactor_ = nullptr;  // from Start on
};

ReasoningService::ReasoningService(const Shared& shared) : shared_(shared) {}

ReasoningService::~ReasoningService() { WaitUntilIdle(kPatience); }

void ReasoningService::StartDraining() { draining_ = true; }

grpc::ServerWriteReactor<grpc::ByteBuffer>* ReasoningService::Generate(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* bytes) {
  auto call = std::make_shared<GenerateCall>();
  auto generation = Generation::Make({.variants = shared_.config.variants,
                                      .policy = shared_.policy,
                                      .pool = shared_.pool,
                                      .metrics = shared_.metrics,
                                      .registry = registry_,
                                      .clock = shared_.clock},
                                     MakeContext(*context, shared_.clock), call);
  call->Feed(generation);
  if (const absl::Status status = Begin(*bytes, *generation); !status.ok()) {
    generation->Refuse(status);
  }
  return rpc::StreamWriter::Launch(std::move(call));
}

absl::Status ReasoningService::Begin(const grpc::ByteBuffer& bytes, Generation& generation) {
  if (draining_) return Draining();
  ASSIGN_OR_RETURN(rpc::LargeRequests::Share share, large_requests_.Admit(bytes.Length()));
  generation.Hold(std::move(share));
  v1::GenerateRequest request;
  RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
  RETURN_IF_ERROR(rpc::CheckRequest(request));
  generation.Start(std::move(request));
  return absl::OkStatus();
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
  auto call = std::make_unique<CountCall>(*context, *response);
  const absl::Status status = call->Read(*this, *bytes);
  if (!status.ok()) return FinishUnary(context, status);
  return CountCall::Start(std::move(call), shared_.clock);
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
