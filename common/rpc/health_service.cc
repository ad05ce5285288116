#include "common/rpc/health_service.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
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

constexpr char kWhole[] = "";
constexpr char kReadiness[] = "readiness";
constexpr char kLiveness[] = "liveness";

std::map<std::string, std::string> Groups(const std::vector<std::string>& names,
                                          const std::vector<std::string>& own_names) {
  std::map<std::string, std::string> groups = {
      {kWhole, kWhole}, {kReadiness, kWhole}, {kLiveness, kLiveness}};
  for (const std::string& name : names) groups.emplace(name, kWhole);
  for (const std::string& name : own_names) groups.emplace(name, name);
  return groups;
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
    const Status status = name_ ? service_.StatusOf(*name_) : HealthCheckResponse::SERVICE_UNKNOWN;
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
    // An unknown name may be as long as a message.
    if (service_.Knows(request.service())) name_ = request.service();
    return service_.Add(std::static_pointer_cast<Watcher>(shared_from_this()));
  }
  void OnDrained() override { Refresh(); }
  void OnEnded() override {
    place_ = {};
    MutexLock lock(service_.mu_);
    service_.watchers_.erase(this);
  }

  HealthService& service_;
  std::optional<std::string> name_;  // constant once the service knows this
  Shares::Held place_;               // likewise, until the end
  Mutex mu_;
  std::optional<Status> last_sent_ ABSL_GUARDED_BY(mu_);
};

HealthService::HealthService(const std::vector<std::string>& names,
                             const std::vector<std::string>& own_names,
                             const TrustedPeers& trusted_peers)
    : group_of_(Groups(names, own_names)),
      places_(kMaxHealthWatches, trusted_peers),
      serving_({{kLiveness, true}}) {
  const std::string service = grpc::health::v1::Health::service_full_name();
  AddMethodOfOneAnswer(service, "Check",
                       [this](const grpc::ByteBuffer& request) { return Check(request); });
  AddMethod(service, "Watch", [this](const grpc::CallbackServerContext& /*context*/) {
    return std::make_shared<Watcher>(*this);
  });
}

HealthService::~HealthService() = default;

void HealthService::SetServing(bool serving) { Set(kWhole, serving); }

void HealthService::SetServing(const std::string& own_name, bool serving) {
  CHECK(Knows(own_name) && group_of_.at(own_name) == own_name, "a name of its own");
  Set(own_name, serving);
}

void HealthService::Set(const std::string& group, bool serving) {
  {
    MutexLock lock(mu_);
    if (shut_down_) return;
    serving_[group] = serving;
  }
  TellWatchers();
}

void HealthService::TellWatchers() {
  std::map<const Watcher*, std::shared_ptr<Watcher>> watchers;
  {
    MutexLock lock(mu_);
    watchers = watchers_;
  }
  for (const auto& entry : watchers) entry.second->Refresh();
}

void HealthService::Shutdown() {
  std::map<const Watcher*, std::shared_ptr<Watcher>> watchers;
  {
    MutexLock lock(mu_);
    shut_down_ = true;
    serving_ = {{kLiveness, true}};
    watchers = watchers_;
  }
  for (const auto& entry : watchers) {
    entry.second->Refresh();
    entry.second->Finish(absl::OkStatus());
  }
}

HealthService::Status HealthService::StatusOf(const std::string& name) const {
  MutexLock lock(mu_);
  const auto found = serving_.find(group_of_.at(name));
  return found != serving_.end() && found->second ? HealthCheckResponse::SERVING
                                                  : HealthCheckResponse::NOT_SERVING;
}

absl::StatusOr<grpc::ByteBuffer> HealthService::Check(const grpc::ByteBuffer& request) const {
  HealthCheckRequest check;
  RETURN_IF_ERROR(ParseRequest(request, check));
  if (!Knows(check.service())) {
    return Error(absl::StatusCode::kNotFound, "SERVICE_UNKNOWN",
                 absl::StrCat("no service \"", check.service(), "\" here"));
  }
  HealthCheckResponse response;
  response.set_status(StatusOf(check.service()));
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
