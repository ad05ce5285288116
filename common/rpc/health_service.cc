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
constexpr std::size_t kMaxWatchedNameBytes = 128;

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
    // An unknown name may be as long as a message, and none that is known later is longer than
    // this.
    if (request.service().size() <= kMaxWatchedNameBytes) name_ = request.service();
    return service_.Add(std::static_pointer_cast<Watcher>(shared_from_this()));
  }
  void OnDrained() override { Refresh(); }
  void OnEnded() override {
    place_ = {};
    MutexLock lock(service_.mu_);
    service_.watchers_.erase(this);
  }

  HealthService& service_;
  std::optional<std::string> name_;  // nullopt: none that can ever be known; constant in the end
  Shares::Held place_;               // likewise, until the end
  Mutex mu_;
  std::optional<Status> last_sent_ ABSL_GUARDED_BY(mu_);
};

HealthService::HealthService(const std::vector<std::string>& names,
                             const std::vector<std::string>& own_names,
                             const TrustedPeers& trusted_peers)
    : places_(kMaxHealthWatches, trusted_peers),
      group_of_(Groups(names, own_names)),
      serving_({{kLiveness, true}}) {
  const std::string service = grpc::health::v1::Health::service_full_name();
  AddMethodOfOneAnswer(service, "Check",
                       [this](const grpc::ByteBuffer& request) { return Check(request); });
  AddMethod(service, "Watch", [this](const grpc::CallbackServerContext& /*context*/) {
    return std::make_shared<Watcher>(*this);
  });
}

HealthService::~HealthService() = default;

void HealthService::SetServing(bool serving) {
  {
    MutexLock lock(mu_);
    Set(kWhole, serving);
  }
  TellWatchers();
}

void HealthService::SetServing(const std::string& own_name, bool serving) {
  CHECK(own_name.size() <= kMaxWatchedNameBytes, "a name that can be watched");
  {
    MutexLock lock(mu_);
    const auto known = group_of_.emplace(own_name, own_name).first;
    CHECK(known->second == own_name, "a name of its own");
    Set(own_name, serving);
  }
  TellWatchers();
}

void HealthService::Forget(const std::string& own_name) {
  {
    MutexLock lock(mu_);
    const auto known = group_of_.find(own_name);
    if (known == group_of_.end()) return;
    CHECK(known->second == own_name, "a name of its own");
    group_of_.erase(known);
    serving_.erase(own_name);
  }
  TellWatchers();
}

void HealthService::Set(const std::string& group, bool serving) {
  if (!shut_down_) serving_[group] = serving;
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
  const auto group = group_of_.find(name);
  if (group == group_of_.end()) return HealthCheckResponse::SERVICE_UNKNOWN;
  const auto found = serving_.find(group->second);
  return found != serving_.end() && found->second ? HealthCheckResponse::SERVING
                                                  : HealthCheckResponse::NOT_SERVING;
}

absl::StatusOr<grpc::ByteBuffer> HealthService::Check(const grpc::ByteBuffer& request) const {
  HealthCheckRequest check;
  RETURN_IF_ERROR(ParseRequest(request, check));
  const Status status = StatusOf(check.service());
  if (status == HealthCheckResponse::SERVICE_UNKNOWN) {
    return Error(absl::StatusCode::kNotFound, "SERVICE_UNKNOWN",
                 absl::StrCat("no service \"", check.service(), "\" here"));
  }
  HealthCheckResponse response;
  response.set_status(status);
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
