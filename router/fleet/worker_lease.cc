#include "router/fleet/worker_lease.h"

#include <string>
#include <utility>

#include "common/rpc/status_details.h"
#include "router/fleet/worker_errors.h"
#include "router/fleet/worker_pool.h"

namespace thinkwire::router::fleet {

WorkerLease::WorkerLease(WorkerPool* pool, const WorkerClient* client, decision::Decision decision,
                         Clock::TimePoint since, decision::PromptMarks marks, std::uint32_t life,
                         std::int32_t outputs)
    : pool_(pool),
      client_(client),
      decision_(std::move(decision)),
      since_(since),
      marks_(std::move(marks)),
      life_(life),
      outputs_(outputs) {}

WorkerLease::WorkerLease(WorkerLease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      client_(other.client_),
      decision_(other.decision_),
      since_(other.since_),
      stage_(other.stage_),
      marks_(std::move(other.marks_)),
      life_(other.life_),
      outputs_(other.outputs_),
      lost_together_(other.lost_together_) {}

WorkerLease::~WorkerLease() {
  if (pool_ != nullptr) pool_->Release(*this);
}

void WorkerLease::Answered() {
  if (stage_ == Stage::kGiven) stage_ = Stage::kAnswered;
}

void WorkerLease::Begun() {
  if (std::exchange(stage_, Stage::kBegun) != Stage::kBegun) pool_->Begin(*this);
}

void WorkerLease::HasPrompt(std::int32_t prompt_tokens, std::int32_t cached_tokens) {
  if (prompt_tokens <= 0) return;
  const double share = static_cast<double>(cached_tokens) / prompt_tokens;
  pool_->prefixes_.Learn(marks_, life_, share * static_cast<double>(marks_.bytes));
  marks_ = {};
}

void WorkerLease::OutputEnded() {
  if (outputs_ == 1) return;
  --outputs_;
  pool_->EndOutput(*this);
}

// What it is judged to have done; nullopt: nothing. A cancel and a deadline are the client's.
std::optional<WorkerTrust::Failure> WorkerLease::FailureOf(const absl::Status& status) {
  const std::string reason = rpc::ErrorReason(status);
  if (reason == kWorkerSilent) return WorkerTrust::Failure::kHung;
  if (reason == kWorkerLost || absl::IsInternal(status)) return WorkerTrust::Failure::kOrdinary;
  return std::nullopt;
}

void WorkerLease::Ended(const absl::Status& status) {
  if (status.ok()) {
    Begun();
    pool_->Succeed(*this);
    return;
  }
  // Whoever waited for a first word in vain is counted when the lease is given back.
  const bool spoke = !absl::IsDeadlineExceeded(status) && !absl::IsCancelled(status) &&
                     rpc::ErrorReason(status) != kWorkerLost;
  if (spoke) Answered();
  if (const auto failure = FailureOf(status)) lost_together_ = pool_->Fail(*this, *failure);
}

}  // namespace thinkwire::router::fleet
