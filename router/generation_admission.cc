// Generation's part in admission: its tenant's limits, the wait in the router's queue, and the
// turn.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "common/rpc/num_outputs.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "router/admission/turns.h"
#include "router/decision/completion_estimate.h"
#include "router/generation.h"
#include "router/prompt_hash.h"
#include "router/refusals.h"

namespace thinkwire::router {
namespace {

admission::Priority ReadPriority(v1::Priority priority) {
  switch (priority) {
    case v1::PRIORITY_LOW:
      return admission::Priority::kLow;
    case v1::PRIORITY_HIGH:
      return admission::Priority::kHigh;
    default:
      return admission::Priority::kNormal;
  }
}

std::string_view NameOf(admission::Priority priority) {
  if (priority == admission::Priority::kNormal) return "normal";
  return priority == admission::Priority::kLow ? "low" : "high";
}

v1::GenerateResponse MakeQueued(const admission::DispatchQueue::Place& place) {
  v1::GenerateResponse event;
  v1::Queued& queued = *event.mutable_queued();
  queued.set_position(static_cast<std::int32_t>(place.position));
  if (place.wait_s) {
    rpc::SetDuration(
        std::chrono::duration_cast<Clock::Duration>(std::chrono::duration<double>(*place.wait_s)),
        queued.mutable_estimated_wait());
  }
  return event;
}

}  // namespace

absl::Status Generation::Book() {
  const admission::Priority priority = ReadPriority(request_.request().priority());
  if (priority > limits_.max_priority) {
    return PriorityNotAllowed(context_.tenant, limits_.max_priority);
  }
  if (shared_.books == nullptr || context_.tenant.empty()) return absl::OkStatus();
  auto begun = shared_.books->Begin(context_.tenant, limits_);
  if (const auto* refusal = std::get_if<admission::Refusal>(&begun)) {
    return OverLimit(context_.tenant, *refusal);
  }
  booked_ = std::get<admission::TenantBooks::Entry>(std::move(begun));
  return absl::OkStatus();
}

// A prompt may be long, a turn come to nothing often, and the prompt be gone when a worker is lost.
decision::PromptMarks Generation::MarkPrompt() {
  if (marks_.list.empty() && request_.request().has_prompt()) {
    marks_ = router::MarkPrompt(request_.request(), shared_.pool.prefix_key(), context_.peer);
  }
  return marks_;
}

void Generation::Apply() {
  const absl::Status status = Book();
  if (status.ok()) return FindFirst();
  account_.ChooseNone(rpc::ErrorMetadata(status, "variant"));
  Decline(status);
}

// At once or in the queue: another thread may have it already when this returns OK.
absl::Status Generation::FindPlace() {
  if (shared_.queue == nullptr) {
    RETURN_IF_ERROR(Lease());
    Begin();
    return absl::OkStatus();
  }
  const decision::Query query = Describe();
  ASSIGN_OR_RETURN(fleet::Offer offer,
                   shared_.pool.Ask(shared_.policy, query, MarkPrompt(),
                                    admission::TurnsOfNew(*shared_.queue, context_.peer)));
  if (const auto refusal = booked_.Reserve(offer.decision.expected_tokens)) {
    return OverLimit(context_.tenant, *refusal);
  }
  const std::string& variant = shared_.variants[offer.decision.variant].name;
  const admission::FairQueue::Request request = MakeTurn(offer.decision);
  if (!offer.lease) return Wait(variant, request, query, offer);
  running_ = shared_.queue->BeginAtOnce(variant, request);
  Choose(*std::move(offer.lease), query);
  Begin();
  return absl::OkStatus();
}

admission::FairQueue::Request Generation::MakeTurn(const decision::Decision& decision) const {
  return {.tenant = context_.peer,
          .weight = static_cast<double>(limits_.weight),
          .priority = ReadPriority(request_.request().priority()),
          .deadline = context_.deadline,
          .cost = std::max(decision.expected_tokens, 1.0),
          .least_cost = std::max(decision.prompt_tokens, 1.0),
          .outputs = static_cast<std::int64_t>(rpc::NumOutputs(request_.request()))};
}

void Generation::RunNextAt(const std::string& variant, const decision::Decision& decision) {
  if (shared_.queue == nullptr) return;
  next_running_ = shared_.queue->BeginAtOnce(variant, MakeTurn(decision));
}

absl::StatusOr<fleet::WorkerLease> Generation::LeaseAtOnce(const decision::Policy& policy,
                                                           const decision::Query& query) {
  if (shared_.queue == nullptr) return shared_.pool.Lease(policy, query, marks_);
  ASSIGN_OR_RETURN(fleet::Offer offer,
                   shared_.pool.Ask(policy, query, marks_,
                                    admission::TurnsOfNew(*shared_.queue, context_.peer)));
  if (!offer.lease) return absl::ResourceExhaustedError("all places are taken");
  return *std::move(offer.lease);
}

absl::Status Generation::Wait(const std::string& variant,
                              const admission::FairQueue::Request& request, decision::Query query,
                              const fleet::Offer& offer) {
  using Outcome = admission::DispatchQueue::Entered::Outcome;
  const double live = static_cast<double>(std::max<std::size_t>(offer.num_live, 1));
  const admission::DispatchQueue::Terms terms = {
      .expected_pace_s = offer.decision.place_s / live,
      .longest_wait_s = decision::LongestWait(query, offer.decision),
      .tells_silence = request_.request().progress()};
  MutexLock lock(mu_);
  if (cancelled_) return CancelStatus();
  auto entered = shared_.queue->Enter(variant, request, terms, weak_from_this());
  if (entered.outcome == Outcome::kFull) return QueueFull(variant);
  if (entered.outcome == Outcome::kTooLate) return TooLate(variant, entered.excess_s);
  ticket_ = std::move(entered.ticket);
  account_.ChooseNone(variant);  // of which it may never have a worker
  waits_for_ = variant;
  query_ = std::move(query);
  idle_ = shared_from_this();
  shared_.metrics.BeginWait(variant);
  sink_->Write(MakeQueued(entered.place));
  return absl::OkStatus();
}

absl::Status Generation::TooLate(const std::string& variant, double excess_s) {
  return DeadlineTooNear(variant, excess_s, shared_.queue->ComeAgain(variant, excess_s));
}

bool Generation::Dispatch() {
  std::shared_ptr<Generation> self;
  {
    MutexLock lock(mu_);
    self.swap(idle_);
  }
  if (!self) return true;  // it was cancelled
  const absl::StatusOr<bool> goes = TakeTurn();
  if (goes.ok() && !*goes && GoOnWaiting()) return false;
  EndWait();
  if (goes.ok() && *goes) {
    Begin();
  } else {
    Decline(goes.ok() ? CancelStatus() : goes.status());
  }
  return true;
}

bool Generation::GoOnWaiting() {
  MutexLock lock(mu_);
  if (!cancelled_) idle_ = shared_from_this();
  return !cancelled_;
}

// Nothing else happens to it meanwhile but Cancel, which finds nothing to end.
absl::StatusOr<bool> Generation::TakeTurn() {
  if (is_over()) return CancelStatus();
  const Clock::TimePoint now = shared_.clock.Now();
  if (context_.deadline) query_->deadline_s = ToSeconds(*context_.deadline - now);
  query_->waited_s = ToSeconds(now - arrival_);
  const decision::Query& query = *query_;
  ASSIGN_OR_RETURN(
      fleet::Offer offer,
      shared_.pool.Ask(shared_.policy, query, MarkPrompt(),
                       admission::TurnsOfFirst(*shared_.queue, context_.peer, waits_for_)));
  // Others could still be in time.
  const double left_s = decision::LongestWait(query, offer.decision).value_or(0);
  if (left_s < 0) return TooLate(waits_for_, -left_s);
  if (!offer.lease) return false;
  running_ = shared_.queue->Go(ticket_);
  Choose(*std::move(offer.lease), query);
  return true;
}

void Generation::TellPlace(const admission::DispatchQueue::Place& place) {
  MutexLock lock(mu_);
  if (idle_) sink_->Write(MakeQueued(place));  // one that finds no room says nothing that matters
}

void Generation::TellSilence() {
  v1::GenerateResponse event;
  event.mutable_progress()->set_reason(v1::SILENCE_REASON_WAITING);
  MutexLock lock(mu_);
  if (idle_) sink_->Write(event);  // as its place
}

void Generation::SendAway() {
  std::shared_ptr<Generation> self;
  {
    MutexLock lock(mu_);
    self.swap(idle_);
  }
  if (!self) return;
  EndWait();
  Decline(Draining());
}

void Generation::EndWait() {
  if (waits_for_.empty()) return;
  ticket_.Leave();
  shared_.metrics.EndWait(waits_for_, context_.tenant,
                          NameOf(ReadPriority(request_.request().priority())),
                          ToSeconds(shared_.clock.Now() - arrival_));
  waits_for_.clear();
  query_.reset();
}

void Generation::Decline(const absl::Status& status) {
  if (!absl::IsCancelled(status)) shared_.metrics.CountRefusal(rpc::ErrorReason(status));
  Conclude(status);
}

void Generation::EndAdmission() {
  EndWait();
  std::int64_t tokens = 0;
  if (ledger_.started()) tokens = ledger_.MakeUsage().prompt_tokens() + ledger_.tokens();
  running_.Took(static_cast<double>(tokens));
  tokens += ledger_.void_prompt_tokens() + ledger_.void_tokens();
  booked_.Took(static_cast<double>(tokens));
  running_ = {};
  booked_ = {};
}

}  // namespace thinkwire::router
