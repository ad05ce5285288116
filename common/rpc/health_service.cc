#include "common/rpc/health_service.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/server_call.h"
#include "common/rpc/shares.h"
#include "common/rpc/status_details.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

std::set<std::string> WithWholeProcess(const std::vector<std::string>& names) {
  std::set<std::string> all(names.begin(), names.end());
  all.insert("");
  return all;
}

}  // namespace

// One Watch call: sends the latest status, and again whenever it is another.
class HealthService::Watcher final : public ServerCall {
 public:
  // `service` outlives all calls of its server.
  explicit Watcher(HealthService& service) : ServerCall(/*capacity=*/1), service_(service) {}

  // Once, as the service takes it.
  void Keep(Shares::Held place) { place_ = std::move(place); }

  void Refresh() {
    MutexLock lock(mu_);  // also orders concurrent refreshes: the last to send looked last
    const Status status = service_.StatusOf(known_);
    if (last_sent_ == status) return;
    HealthCheckResponse response;
    response.set_status(status);
    if (Write(response)) last_sent_ = status;
  }

 private:
  void OnMessage(grpc::ByteBuffer message) override {
    if (absl::Status status = Begin(message); !status.ok()) return Finish(std::move(status));
    Refresh();
  }
  absl::Status Begin(const grpc::ByteBuffer& message) {
    HealthCheckRequest request;
    RETURN_IF_ERROR(ParseRequest(message, request));
    known_ = service_.names_.contains(request.service());  // the name may be as long as a message
    return service_.Add(std::static_pointer_cast<Watcher>(shared_from_this()));
  }
  void OnDrained() override { Refresh(); }
  void OnEnded() override {
    place_ = {};
    MutexLock lock(service_.mu_);
    service_.watchers_.erase(this);
  }

  HealthService& service_;
  bool known_ = false;  // constant once the service knows this
  Shares::Held place_;  // likewise, until the end
  Mutex mu_;
  std::optional<Status> last_sent_ ABSL_GUARDED_BY(mu_);
};

HealthService::HealthService(const std::vector<std::string>& names,
                             const TrustedPeers& trusted_peers)
    : names_(WithWholeProcess(names)), places_(kMaxHealthWatches, trusted_peers) {
  const std::string service = grpc::health::v1::Health::service_full_name();
  AddMethodOfOneAnswer(service, "Check",
                       [this](const grpc::ByteBuffer& request) { return Check(request); });
  AddMethod(service, "Watch", [this](const grpc::CallbackServerContext& /*context*/) {
    return std::make_shared<Watcher>(*this);
  });
}

HealthService::~HealthService() = default;

void HealthService::SetServing(bool serving) {
  std::map<const Watcher*, std::shared_ptr<Watcher>> watchers;
  {
    MutexLock lock(mu_);
    if (shut_down_) return;
    serving_ = serving;
    watchers = watchers_;
  }
  for (const auto& entry : watchers) entry.second->Refresh();
}

void HealthService::Shutdown() {
  SetServing(false);
  std::map<const Watcher*, std::shared_ptr<Watcher>> watchers;
  {
    MutexLock lock(mu_);
    shut_down_ = true;
    watchers = watchers_;
  }
  for (const auto& entry : watchers) {
    entry.second->Finish(absl::OkStatus());
  }
}

HealthService::Status HealthService::StatusOf(bool known) const {
  if (!known) return HealthCheckResponse::SERVICE_UNKNOWN;
  MutexLock lock(mu_);
  return serving_ ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

absl::StatusOr<grpc::ByteBuffer> HealthService::Check(const grpc::ByteBuffer& request) const {
  HealthCheckRequest check;
  RETURN_IF_ERROR(ParseRequest(request, check));
  if (!names_.contains(check.service())) {
    return Error(absl::StatusCode::kNotFound, "SERVICE_UNKNOWN",
                 absl::StrCat("no service \"", check.service(), "\" here"));
  }
  HealthCheckResponse response;
  response.set_status(StatusOf(/*known=*/true));
  return Serialize(response);
}

absl::Status HealthService::Add(std::shared_ptr<Watcher> watcher) {
  MutexLock lock(mu_);
  if (shut_down_) {
    return Error(absl::StatusCode::kUnavailable, "SHUTTING_DOWN", "the server shuts down");
  }
  std::optional<Shares::Held> place = places_.Take(watcher->peer());
  if (!place) {
    return Error(
        absl::StatusCode::kResourceExhausted, "TOO_MANY_WATCHES",
        absl::StrCat("this client's share of ", kMaxHealthWatches, " health watches is used up"));
  }
  watcher->Keep(*std::move(place));
  const Watcher* key = watcher.get();
  watchers_.emplace(key, std::move(watcher));
  return absl::OkStatus();
}

}  // namespace thinkwire::rpc
