#include "common/rpc/health_service.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/rpc/request_parser.h"
#include "common/rpc/shares.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_writer.h"

namespace thinkwire::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// Each watch is one stream and a few bytes; beyond this somebody is not asking for health.
constexpr std::int64_t kMaxWatchers = 1024;

std::set<std::string> WithWholeProcess(const std::vector<std::string>& names) {
  std::set<std::string> all(names.begin(), names.end());
  all.insert("");
  return all;
}

}  // namespace

// One Watch call: sends the latest status, and again whenever it is another.
class HealthService::Watcher final : public StreamWriter {
 public:
  // `service` outlives all calls of its server.
  Watcher(HealthService& service, std::string name)
      : StreamWriter(/*capacity=*/1), service_(service), name_(std::move(name)) {}

  // Before Launch.
  void Keep(Shares::Held place) { place_ = std::move(place); }

  void Refresh() {
    MutexLock lock(mu_);  // also orders concurrent refreshes: the last to send looked last
    const Status status = service_.StatusOf(name_);
    if (last_sent_ == status) return;
    HealthCheckResponse response;
    response.set_status(status);
    if (Write(response)) last_sent_ = status;
  }

 private:
  void OnDrained() override { Refresh(); }
  void OnEnded() override {
    place_ = {};
    MutexLock lock(service_.mu_);
    service_.watchers_.erase(this);
  }

  HealthService& service_;
  const std::string name_;
  Shares::Held place_;
  Mutex mu_;
  std::optional<Status> last_sent_ ABSL_GUARDED_BY(mu_);
};

HealthService::HealthService(const std::vector<std::string>& names,
                             const TrustedPeers& trusted_peers)
    : names_(WithWholeProcess(names)), places_(kMaxWatchers, trusted_peers) {}

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

HealthService::Status HealthService::StatusOf(const std::string& name) const {
  if (names_.count(name) == 0) return HealthCheckResponse::SERVICE_UNKNOWN;
  MutexLock lock(mu_);
  return serving_ ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const grpc::ByteBuffer* request,
                                               grpc::ByteBuffer* response) {
  HealthCheckRequest check;
  absl::Status status = ParseRequest(*request, check);
  if (status.ok() && names_.count(check.service()) == 0) {
    status = Error(absl::StatusCode::kNotFound, "SERVICE_UNKNOWN",
                   absl::StrCat("no service \"", check.service(), "\" here"));
  }
  if (status.ok()) {
    HealthCheckResponse answer;
    answer.set_status(StatusOf(check.service()));
    *response = Serialize(answer);
  }
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpc(status));
  return reactor;
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* HealthService::Watch(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  HealthCheckRequest watch;
  absl::Status status = ParseRequest(*request, watch);
  auto watcher = std::make_shared<Watcher>(*this, watch.service());
  if (status.ok()) {
    MutexLock lock(mu_);
    if (shut_down_) {
      status = Error(absl::StatusCode::kUnavailable, "SHUTTING_DOWN", "the server shuts down");
    } else if (auto place = places_.Take(context->peer())) {
      watcher->Keep(*std::move(place));
      watchers_.emplace(watcher.get(), watcher);
    } else {
      status = Error(
          absl::StatusCode::kResourceExhausted, "TOO_MANY_WATCHES",
          absl::StrCat("this client's share of ", kMaxWatchers, " health watches is used up"));
    }
  }
  if (status.ok()) {
    watcher->Refresh();
  } else {
    watcher->Finish(std::move(status));
  }
  return StreamWriter::Launch(std::move(watcher));
}

}  // namespace thinkwire::rpc
