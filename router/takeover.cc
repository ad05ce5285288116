#include "router/takeover.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/strings.h"
#include "router/attempts.h"
#include "router/fleet/worker_errors.h"

namespace thinkwire::router {

void Takeover::Begin(const std::string& address) {
  begun_ = true;
  previous_address_ = address_;
  address_ = address;
}

Takeover::Verdict Takeover::LoseBegun(const absl::Status& status, const Circumstances& loss,
                                      Clock::TimePoint now) {
  const bool lied = HasLied(status);
  if (!HasLeft(status) && !lied) return Verdict::kEnd;
  begun_ = false;
  loss_ = status;
  lost_at_ = now;
  Avoid(loss.worker, now);
  if (!IsLoss(status) && !lied) return Verdict::kSearch;
  suspicion_.Add({.worker = loss.worker,
                  .at = now,
                  .tokens = loss.tokens,
                  .alone = lied || loss.together <= 1},
                 loss.fleet);
  return suspicion_.is_poison() ? Verdict::kPoison : Verdict::kSearch;
}

Takeover::Verdict Takeover::LoseOther(const absl::Status& status, std::size_t worker,
                                      Clock::TimePoint now) {
  if (absl::IsDeadlineExceeded(status) || absl::IsCancelled(status)) return Verdict::kEnd;
  Avoid(worker, now);
  return Verdict::kGoOn;
}

void Takeover::GoOn(const std::string& address, Clock::TimePoint now) {
  begun_ = false;
  loss_ = fleet::CrowdedError(address);  // where it does not go on there
  lost_at_ = now;
  place_ = now;
}

void Takeover::BeginAnew() {
  avoided_.clear();
  suspicion_.Clear();
}

void Takeover::Avoid(std::size_t worker, Clock::TimePoint now) {
  std::erase_if(avoided_, [&](const Avoidance& one) { return one.worker == worker; });
  avoided_.push_back({.worker = worker, .until = now + kSecondChance});
}

std::vector<std::size_t> Takeover::Avoided(Clock::TimePoint now) const {
  std::vector<std::size_t> workers;
  for (const Avoidance& one : avoided_) {
    if (now < one.until) workers.push_back(one.worker);
  }
  return workers;
}

Clock::TimePoint Takeover::GiveUpAt() const { return std::max(place_, lost_at_) + wait_; }

Clock::TimePoint Takeover::NextLook(Clock::TimePoint now) const {
  if (now < place_) return place_;
  return std::min(now + kWorkerSearchInterval, GiveUpAt());
}

std::string Takeover::Describe() const {
  return absl::StrCat("the worker ", View(WhatBecameOfWorker(loss_)));
}

absl::Status Takeover::NobodyIsLeft() const {
  if (HasLied(loss_)) return loss_;
  return rpc::WithRetryAfter(rpc::WithMetadata(
      rpc::Error(
          absl::StatusCode::kUnavailable, fleet::kWorkerLost,
          absl::StrCat("the worker ", address_, " ", View(WhatBecameOfWorker(loss_)),
                       ", and no other went on with the request within ", ToSeconds(wait_), " s")),
      "worker", address_));
}

absl::Status Takeover::TooLarge(std::size_t bytes) const {
  if (HasLied(loss_)) return loss_;
  return rpc::WithMetadata(
      rpc::Error(absl::StatusCode::kUnavailable, fleet::kWorkerLost,
                 absl::StrCat("the worker ", address_, " ", View(WhatBecameOfWorker(loss_)),
                              ", and no other can go on with the request: what it takes for that, ",
                              bytes, " bytes, is more than the ", kMaxMessageBytes,
                              " of a message (require_resumable refuses such requests)")),
      "worker", address_);
}

absl::Status Takeover::Poison(const std::string& request_id) const {
  return rpc::Error(
      absl::StatusCode::kInternal, "POISON",
      absl::StrCat("the request ", request_id, " was running on ", suspicion_.num_losses(),
                   " workers in a row when each failed, on ", previous_address_, " and then on ",
                   address_, " at last, and is given to no other: ", loss_.message()));
}

}  // namespace thinkwire::router
