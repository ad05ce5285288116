#include "router/fleet/worker_lease.h"

#include <string>
#include <utility>

#include "common/rpc/status_details.h"
#include "router/fleet/worker_errors.h"
#include "router/fleet/worker_pool.h"

namespace thinkwire::router::fleet {

WorkerLease::WorkerLease(WorkerPool* pool, const WorkerClient* client, decision::Decision decision,
                         Clock::TimePoint since, decision::PromptMarks marks, std::uint32_t life)
    : pool_(pool),
      client_(client),
      decision_(std::move(decision)),
      since_(since),
      marks_(std::move(marks)),
      life_(life) {}

WorkerLease::WorkerLease(WorkerLease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      client_(other.client_),
      decision_(other.decision_),
      since_(other.since_),
      stage_(other.stage_),
      marks_(std::move(other.marks_)),
      life_(other.life_) {}

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

void WorkerLease::HasPrompt(std::int32_t prompt_tokens, std::int32_t cached_tokens) {
  if (prompt_tokens <= 0) return;
  const double share = static_cast<double>(cached_tokens) / prompt_tokens;
  pool_->prefixes_.Learn(marks_, life_, share * static_cast<double>(marks_.bytes));
  marks_ = {};
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
