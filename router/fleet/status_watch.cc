#include "router/fleet/status_watch.h"

#include <grpcpp/support/client_callback.h>

#include <utility>

#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "router/fleet/worker_status.h"
#include "router/fleet/worker_stub.h"

namespace thinkwire::router::fleet {
namespace {

// Asks first whether calls reach the worker: the two connections come about, and break, each by
// itself, and a worker that is called live must take calls at once.
class Watcher final : public StatusWatch,
                      public grpc::ClientReadReactor<v1::WatchStatusResponse>,
                      public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(std::shared_ptr<WorkerStub> stub, const Clock& clock,
          std::function<void(WorkerClient::StatusResult)> on_status,
          std::function<void(absl::Status)> on_end)
      : clock_(clock),
        began_(clock.Now()),
        reach_(stub),
        tie_(std::move(stub)),
        on_status_(std::move(on_status)),
        on_end_(std::move(on_end)) {}

  void Start() {
    self_ = shared_from_this();
    reach_.stub().reach.async()->Check(&reach_.context(), &anybody_, &health_,
                                       [this](const grpc::Status& status) { OnReached(status); });
  }

  void Cancel() override {
    reach_.TryCancel();
    tie_.TryCancel();
  }

 private:
  // Whatever it answers, it was reached.
  void OnReached(const grpc::Status& status) {
    reach_.LetGo();
    const grpc::StatusCode code = status.error_code();
    if (code == grpc::StatusCode::UNAVAILABLE || code == grpc::StatusCode::CANCELLED) {
      OnDone(status);
      return;
    }
    tie_.stub().watches->async()->WatchStatus(&tie_.context(), &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (IsFlood(++num_statuses_)) {
      flooded_ = true;
      return tie_.TryCancel();
    }
    WorkerClient::StatusResult status = ReadStatus(response_);
    tie_.vocab_size() = status.ok() ? response_.vocab_size() : 0;
    tie_.stub().request_revision = status.ok() ? response_.request_revision() : 0;
    on_status_(std::move(status));
    StartRead(&response_);
  }

  // Whether no worker tells so many statuses so soon.
  bool IsFlood(std::int64_t statuses) const {
    const double seconds = ToSeconds(clock_.Now() - began_);
    return static_cast<double>(statuses) > kSignBurst + kSignsASecond * seconds;
  }

  void OnDone(const grpc::Status& status) override {
    tie_.vocab_size() = 0;  // another may come up there
    tie_.stub().request_revision = 0;
    tie_.LetGo();
    on_end_(flooded_ ? absl::ResourceExhaustedError("too many statuses came")
                     : rpc::FromGrpc(status));
    const std::shared_ptr<Watcher> last = std::move(self_);
  }

  const Clock& clock_;
  const Clock::TimePoint began_;
  ChannelTie reach_;
  const grpc::health::v1::HealthCheckRequest anybody_;
  grpc::health::v1::HealthCheckResponse health_;
  ChannelTie tie_;
  const std::function<void(WorkerClient::StatusResult)> on_status_;
  const std::function<void(absl::Status)> on_end_;
  const v1::WatchStatusRequest request_;
  v1::WatchStatusResponse response_;
  std::int64_t num_statuses_ = 0;
  bool flooded_ = false;
  std::shared_ptr<Watcher> self_;
};

}  // namespace

std::shared_ptr<StatusWatch> StartWatch(std::shared_ptr<WorkerStub> stub, const Clock& clock,
                                        std::function<void(WorkerClient::StatusResult)> on_status,
                                        std::function<void(absl::Status)> on_end) {
  auto watcher =
      std::make_shared<Watcher>(std::move(stub), clock, std::move(on_status), std::move(on_end));
  watcher->Start();
  return watcher;
}

}  // namespace thinkwire::router::fleet
