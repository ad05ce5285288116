#include "router/service.h"

#include <grpcpp/support/server_callback.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/input_limits.h"
#include "common/rpc/built_features.h"
#include "common/rpc/call_peer.h"
#include "common/rpc/deadline.h"
#include "common/rpc/request_checks.h"
#include "common/rpc/request_id.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/server_call.h"
#include "common/rpc/status_details.h"
#include "common/rpc/traceparent.h"
#include "common/status.h"
#include "common/trace_context.h"
#include "router/counting.h"
#include "router/decision/variant_names.h"
#include "router/fleet/worker_client.h"
#include "router/query.h"
#include "router/refusals.h"

namespace thinkwire::router {
namespace {

// Messages that wait behind the one that gRPC is sending; what comes after them is merged
// (WaitingEvents). All of a short stream fits, so that one whom nobody reads keeps no worker.
constexpr std::size_t kMessageCapacity = 8;
// reasoning.proto promises it.
constexpr char kUsageTrailer[] = "thinkwire-usage-bin";
// By which gRPC's own retries know when (gRFC A6): milliseconds.
constexpr char kPushbackTrailer[] = "grpc-retry-pushback-ms";
// Streams of workers that were cancelled end at once; more than this is a bug.
constexpr std::chrono::seconds kPatience{60};
static_assert(sizeof(rpc::kTenantPeer) - 1 + kMaxTenantNameBytes <= rpc::kMaxPeerBytes);
constexpr std::int32_t kDefaultPageSize = 100;
constexpr std::int32_t kMaxPageSize = 1000;

// `status` as the client sees it: with the request's name, for who asks about it.
absl::Status Named(const absl::Status& status, const std::string& id) {
  return status.ok() ? status : rpc::WithMetadata(status, rpc::kRequestIdOfError, id);
}

std::string InMs(Clock::Duration duration) {
  return absl::StrCat(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

}  // namespace

// The client's end of one generation.
class ReasoningService::GenerateCall final : public rpc::ServerCall, public EventSink {
 public:
  GenerateCall(ReasoningService& service, grpc::CallbackServerContext& context)
      : ServerCall(kMessageCapacity),
        service_(service),
        context_(std::make_unique<fleet::CallContext>(service.MakeContext(context))),
        id_(context_->id.own) {}

  bool Write(const v1::GenerateResponse& event) override { return ServerCall::Write(event); }
  bool gathers() const override { return true; }
  void Finish(const absl::Status& status, const std::optional<v1::Usage>& usage) override {
    if (usage) AddTrailingMetadata(kUsageTrailer, usage->SerializeAsString());
    if (const auto delay = rpc::RetryAfter(status))
      AddTrailingMetadata(kPushbackTrailer, InMs(*delay));
    ServerCall::Finish(Named(status, id_));
    running_ = {};
  }

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    const std::string peer = context_->peer;
    Generation& generation = MakeGeneration();
    const absl::Status status = service_.Begin(peer, bytes, generation);
    if (!status.ok()) generation.Refuse(status);
  }
  void OnRefused(const absl::Status& status) override { MakeGeneration().Refuse(status); }
  void OnDrained() override { generation_->Resume(); }
  void OnCancelled() override { generation_->Cancel(); }
  void OnEnded() override {
    service_.EndGeneration();
    generation_.reset();  // which holds this
  }

  Generation& MakeGeneration() {
    running_ = service_.BeginCount();
    generation_ = service_.MakeGeneration(
        *context_, std::static_pointer_cast<GenerateCall>(shared_from_this()));
    context_.reset();
    return *generation_;
  }

  ReasoningService& service_;
  rpc::CallCount::Token running_;                // until the generation's Finish
  std::unique_ptr<fleet::CallContext> context_;  // until the generation has it
  const std::string id_;
  std::shared_ptr<Generation> generation_;  // from the first hook to the last
};

// The client's end of one count. What it takes counts until the transport has taken the answer,
// which is as long as the prompt if its ids are asked for.
class ReasoningService::CountCall final : public rpc::ServerCall, public CountSink {
 public:
  CountCall(ReasoningService& service, grpc::CallbackServerContext& context)
      : ServerCall(1), service_(service), context_(service.MakeContext(context)) {}

  bool IsWanted() const override { return !cancelled_; }
  void Finish(const absl::StatusOr<v1::CountTokensResponse>& count) override {
    absl::Status status = count.status();
    if (count.ok()) status = held_.Resize(count->ByteSizeLong());
    if (status.ok()) Write(*count);
    ServerCall::Finish(Named(status, context_.id.own));
    running_ = {};  // the service may go now
  }

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    running_ = service_.running_.Begin();
    if (const absl::Status status = Begin(bytes); !status.ok()) Finish(status);
  }
  void OnRefused(const absl::Status& status) override { Finish(status); }
  void OnCancelled() override { cancelled_ = true; }

  // Lets go of `bytes`. Fails: what the client is told.
  absl::Status Begin(grpc::ByteBuffer& bytes) {
    ASSIGN_OR_RETURN(held_, service_.request_bytes_.Admit(context_.peer, bytes.Length()));
    v1::CountTokensRequest request;
    RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
    bytes.Clear();
    RETURN_IF_ERROR(held_.Resize(request.SpaceUsedLong()));
    RETURN_IF_ERROR(rpc::CheckRequest(request));
    const Shared& shared = service_.shared_;
    const std::shared_ptr<const Catalog> catalog = shared.catalog.Get();
    Counting::Start({.variants = catalog->variants(),
                     .policy = catalog->policy(),
                     .pool = shared.pool,
                     .metrics = shared.metrics,
                     .retries = service_.retries_,
                     .turns = service_.count_turns_,
                     .clock = shared.clock,
                     .catalog = catalog},
                    context_, std::move(request),
                    std::static_pointer_cast<CountCall>(shared_from_this()));
    return absl::OkStatus();
  }

  ReasoningService& service_;
  const fleet::CallContext context_;
  std::atomic<bool> cancelled_ = false;
  rpc::RequestBytes::Held held_;   // until nobody has the call any more
  rpc::CallCount::Token running_;  // until Finish, which may come after the call is over
};

// The client's end of one AnswerNow.
class ReasoningService::AnswerNowCall final : public rpc::ServerCall {
 public:
  AnswerNowCall(ReasoningService& service, grpc::CallbackServerContext& context)
      : ServerCall(1), service_(service), context_(service.MakeContext(context)) {}

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    running_ = service_.running_.Begin();
    if (const absl::Status status = Begin(bytes); !status.ok()) End(status);
  }
  void OnRefused(const absl::Status& status) override { End(status); }

  // Fails: what the client is told.
  absl::Status Begin(const grpc::ByteBuffer& bytes) {
    v1::AnswerNowRequest request;
    RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
    service_.AnswerNow(context_, request,
                       [self = std::static_pointer_cast<AnswerNowCall>(shared_from_this())](
                           const absl::StatusOr<std::int32_t>& outputs) { self->Tell(outputs); });
    return absl::OkStatus();
  }

  void Tell(const absl::StatusOr<std::int32_t>& outputs) {
    v1::AnswerNowResponse response;
    response.set_outputs(outputs.value_or(0));
    if (outputs.ok()) Write(response);
    End(outputs.status());
  }
  void End(const absl::Status& status) {
    ServerCall::Finish(Named(status, context_.id.own));
    running_ = {};  // the service may go now
  }

  ReasoningService& service_;
  const fleet::CallContext context_;
  rpc::CallCount::Token running_;  // until End, which may come after the call is over
};

void ReasoningService::AnswerNow(const fleet::CallContext& context,
                                 const v1::AnswerNowRequest& request,
                                 fleet::AnswerNowDone on_done) {
  if (const absl::Status status = rpc::CheckRequest(request); !status.ok()) {
    return on_done(status);
  }
  Answering::Start({.pool = shared_.pool,
                    .registry = registry_,
                    .worker_calls = answer_now_calls_,
                    .running = running_,
                    .num_routers = shared_.num_routers},
                   context, request, std::move(on_done));
}

ReasoningService::ReasoningService(const Shared& shared)
    : shared_(shared), moves_(shared.clock), books_(shared.clock), queue_(shared.clock) {
  moves_.Start();
  queue_.Start();
  shared.pool.SetOnRoom([this](const std::string& variant) { queue_.Look(variant); });
  const std::string service = v1::ReasoningService::service_full_name();
  AddMethod(service, "Generate", [this](grpc::CallbackServerContext& context) {
    return std::make_shared<GenerateCall>(*this, context);
  });
  AddMethod(service, "CountTokens", [this](grpc::CallbackServerContext& context) {
    return std::make_shared<CountCall>(*this, context);
  });
  AddMethod(service, "AnswerNow", [this](grpc::CallbackServerContext& context) {
    return std::make_shared<AnswerNowCall>(*this, context);
  });
  AddMethodOfOneAnswer(service, "ListVariants",
                       [this](const grpc::ByteBuffer& bytes) { return List(bytes); });
  AddMethodOfOneAnswer(service, "GetServerInfo",
                       [this](const grpc::ByteBuffer& bytes) { return TellAboutServer(bytes); });
}

ReasoningService::~ReasoningService() {
  CHECK(running_.WaitUntilNone(kPatience), "every call ends soon after its client's cancel");
  CHECK(registry_.WaitUntilEmpty(kPatience), "every generation ends with its call");
  shared_.pool.SetOnRoom(nullptr);
}

void ReasoningService::StartDraining() {
  draining_ = true;
  queue_.Close();
}

absl::Status ReasoningService::Admit(const grpc::CallbackServerContext& context) const {
  if (shared_.callers == nullptr) return absl::OkStatus();
  absl::Status status = shared_.callers->TenantOf(context).status();
  if (!status.ok()) shared_.metrics.CountUnauthenticated(rpc::ErrorReason(status));
  return status;
}

fleet::CallContext ReasoningService::MakeContext(grpc::CallbackServerContext& context) const {
  fleet::CallContext call;
  call.id = rpc::NameCall(context);
  call.deadline = rpc::DeadlineOf(context, shared_.clock);
  call.peer = rpc::CallPeer(context, shared_.trusted, shared_.trusted);
  if (shared_.callers != nullptr) {
    // Admitted a moment ago; a key that was taken away since leaves the call its address's.
    call.tenant = shared_.callers->TenantOf(context).value_or("");
    if (!call.tenant.empty()) call.peer = PeerOf(call.tenant, "");
  }
  call.traceparent = rpc::TraceparentOf(context);
  call.trace = ContinueTrace(call.traceparent);
  return call;
}

absl::Status ReasoningService::Begin(const std::string& peer, grpc::ByteBuffer& bytes,
                                     Generation& generation) {
  ASSIGN_OR_RETURN(rpc::RequestBytes::Held held, AdmitBytes(peer, bytes.Length()));
  v1::GenerateRequest request;
  RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
  bytes.Clear();
  return Begin(std::move(held), std::move(request), generation);
}

absl::StatusOr<rpc::RequestBytes::Held> ReasoningService::AdmitBytes(const std::string& peer,
                                                                     std::size_t bytes) {
  if (draining_) return Draining();
  return request_bytes_.Admit(peer, bytes);
}

absl::Status ReasoningService::Begin(rpc::RequestBytes::Held held, v1::GenerateRequest request,
                                     Generation& generation) {
  RETURN_IF_ERROR(held.Resize(request.SpaceUsedLong()));
  generation.Hold(std::move(held));
  RETURN_IF_ERROR(rpc::CheckRequest(request));
  generation.Start(std::move(request));
  return absl::OkStatus();
}

std::shared_ptr<Generation> ReasoningService::MakeGeneration(const fleet::CallContext& context,
                                                             std::shared_ptr<EventSink> sink) {
  shared_.metrics.BeginCall();
  const std::shared_ptr<const Catalog> catalog = shared_.catalog.Get();
  std::shared_ptr<Generation> generation = Generation::Make({.variants = catalog->variants(),
                                                             .policy = catalog->policy(),
                                                             .pool = shared_.pool,
                                                             .metrics = shared_.metrics,
                                                             .registry = registry_,
                                                             .clock = shared_.clock,
                                                             .retries = retries_,
                                                             .moves = moves_,
                                                             .resume_wait = shared_.resume_wait,
                                                             .cache_salts = shared_.cache_salts,
                                                             .books = &books_,
                                                             .queue = &queue_,
                                                             .held_bytes = &held_bytes_,
                                                             .catalog = catalog},
                                                            context, std::move(sink));
  if (shared_.callers != nullptr) {
    generation->Limit(
        admission::PartOf(shared_.callers->LimitsOf(context.tenant), shared_.num_routers));
  }
  return generation;
}

absl::StatusOr<std::string> ReasoningService::TenantOf(
    std::string_view key, std::span<const std::string> certificate_names) const {
  if (shared_.callers == nullptr) return "";
  auto tenant = shared_.callers->TenantOf(key, certificate_names);
  if (!tenant.ok()) shared_.metrics.CountUnauthenticated(rpc::ErrorReason(tenant.status()));
  return tenant;
}

std::string ReasoningService::PeerOf(const std::string& tenant, std::string_view grpc_peer) const {
  if (!tenant.empty()) return absl::StrCat(rpc::kTenantPeer, tenant);
  return shared_.trusted.ShareKey(grpc_peer);
}

absl::StatusOr<grpc::ByteBuffer> ReasoningService::List(const grpc::ByteBuffer& bytes) const {
  v1::ListVariantsRequest request;
  RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
  if (request.page_size() < 0 || request.page_size() > kMaxPageSize) {
    return rpc::InvalidField(
        "page_size", absl::StrCat("must be in [0, ", kMaxPageSize, "], is ", request.page_size()));
  }
  const std::int32_t page_size = request.page_size() > 0 ? request.page_size() : kDefaultPageSize;
  // A page token is the last name of the page before.
  v1::ListVariantsResponse page;
  for (v1::Variant& variant : ListVariants()) {
    if (!request.page_token().empty() && variant.name() <= request.page_token()) continue;
    if (page.variants_size() == page_size) {
      page.set_next_page_token(page.variants().rbegin()->name());
      break;
    }
    *page.add_variants() = std::move(variant);
  }
  return rpc::Serialize(page);
}

std::vector<v1::Variant> ReasoningService::ListVariants() const {
  const std::shared_ptr<const Catalog> catalog = shared_.catalog.Get();
  std::vector<v1::Variant> variants;
  for (const std::size_t i : catalog->configured()) {
    variants.push_back(Describe(i, catalog->variants()[i]));
  }
  std::ranges::sort(variants, {}, &v1::Variant::name);
  return variants;
}

absl::StatusOr<grpc::ByteBuffer> ReasoningService::TellAboutServer(
    const grpc::ByteBuffer& bytes) const {
  v1::GetServerInfoRequest request;
  RETURN_IF_ERROR(rpc::ParseRequest(bytes, request));
  v1::GetServerInfoResponse info;
  info.set_version(shared_.version);
  for (const std::string& method : rpc::BuiltMethods()) info.add_methods(method);
  for (const std::string& field : rpc::BuiltGenerateFields()) info.add_generate_fields(field);
  return rpc::Serialize(info);
}

v1::Variant ReasoningService::Describe(std::size_t index, const VariantConfig& config) const {
  const fleet::VariantState state = shared_.pool.Describe(index);
  v1::Variant variant;
  variant.set_name(config.name);
  for (const std::string& alias : config.aliases) variant.add_aliases(alias);
  for (const std::string& alias : decision::KnownAliases(config.name)) variant.add_aliases(alias);
  variant.set_configured_workers(state.configured);
  variant.set_live_workers(state.live);
  variant.set_draining_workers(state.draining);
  variant.set_queued(state.queued + static_cast<std::int32_t>(queue_.NumWaiting(config.name)));
  variant.set_running(state.running);
  variant.set_max_model_len(state.max_model_len);
  for (const Task task : config.tasks) variant.add_tasks(MakeTask(task));
  variant.mutable_fingerprints()->Assign(state.fingerprints.begin(), state.fingerprints.end());
  return variant;
}

}  // namespace thinkwire::router
