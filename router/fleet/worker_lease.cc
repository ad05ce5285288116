#include "router/fleet/worker_lease.h"

#include <string>
#include <utility>

#include "common/rpc/status_details.h"
#include "router/fleet/worker_errors.h"
#include "router/fleet/worker_pool.h"

namespace thinkwire::router::fleet {

WorkerLease::WorkerLease(WorkerPool* pool, const WorkerClient* client, decision::Decision decision,
                         Clock::TimePoint since)
    : pool_(pool), client_(client), decision_(std::move(decision)), since_(since) {}

WorkerLease::WorkerLease(WorkerLease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      client_(other.client_),
      decision_(other.decision_),
      since_(other.since_),
      stage_(other.stage_) {}

WorkerLease::~WorkerLease() {
  if (pool_ != nullptr) pool_->Release(*this);
}

void WorkerLease::Answered() {
  if (stage_ == Stage::kGiven) stage_ = Stage::kAnswered;
}

void WorkerLease::Begun() {
  if (std::exchange(stage_, Stage::kBegun) != Stage::kBegun) {
    pool_->Take(decision_.worker, &WorkerTrust::Begin);
  }
}

// A loss may be the network's, and a cancel or a deadline the client's: they say nothing.
void WorkerLease::Ended(const absl::Status& status) {
  const std::string reason = rpc::ErrorReason(status);
  if (status.ok()) {
    Begun();
    pool_->Take(decision_.worker, &WorkerTrust::Succeed);
  } else if (reason == kWorkerSilent || reason == kWorkerProtocol) {
    Answered();
    pool_->TakeFailure(decision_.worker);
  } else if (reason != kWorkerLost && !absl::IsDeadlineExceeded(status) &&
             !absl::IsCancelled(status)) {
    Answered();
  }
}

}  // namespace thinkwire::router::fleet
