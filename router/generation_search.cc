// How a generation finds a worker: the first, another where that failed, a successor.

#include <algorithm>
#include <chrono>
#include <string>

#include "common/log.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "router/generation.h"

namespace thinkwire::router {
namespace {

constexpr std::chrono::milliseconds kProgressInterval{500};  // as reasoning.proto says it

}  // namespace

void Generation::FindFirst() {
  const absl::Status status = FindPlace();
  if (status.ok()) return;
  account_.ChooseNone(rpc::ErrorMetadata(status, "variant"));
  if (!WaitsToBegin(status)) Decline(status);
}

// A variant that had a live worker a moment ago, and no failure but its loss, is likely to have one
// soon: a restart. One that had none is for whoever balances load to turn away from.
bool Generation::WaitsToBegin(const absl::Status& status) {
  const Clock::TimePoint now = shared_.clock.Now();
  if (rpc::ErrorReason(status) != "NO_LIVE_WORKER") return false;
  if (!attempts_.last().ok() && !HasLeft(attempts_.last())) return false;
  if (!begin_by_) {
    if (!shared_.pool.WasLiveLately(rpc::ErrorMetadata(status, "variant"))) return false;
    if (shared_.moves.num_waiting() >= kMaxWaitingToBegin) return false;
    begin_by_ = now + shared_.resume_wait;
  }
  if (now >= *begin_by_) return false;
  WaitForTurn(std::min(now + kWorkerSearchInterval, *begin_by_));
  return true;
}

void Generation::FindAnother(const absl::Status& status) {
  attempts_.Fail(status);
  takeover_.Lose(status, {.worker = lease_->decision().worker}, shared_.clock.Now());
  const bool may = attempts_.MayGoOn() && !is_over() && shared_.retries.Withdraw();
  if (!may) return Conclude(attempts_.Best());
  lease_.reset();  // no load of that worker any more
  FindNext();
}

void Generation::FindNext() {
  const std::string left = worker_;
  const absl::Status status = Lease();
  if (status.ok()) {
    NoteRetry(left);
    return StartAttempt();
  }
  if (!WaitsToBegin(status)) Conclude(attempts_.Best());
}

void Generation::NoteRetry(const std::string& left) {
  const std::string reason = rpc::ErrorReason(attempts_.last());
  shared_.metrics.CountRetry(account_.variant(), reason);
  Log(LogLevel::kWarning, "request retried",
      {{"request_id", request_id_},
       {"attempt", request_.attempt()},
       {"reason", reason},
       {"worker", left},
       {"next_worker", worker_}},
      RequestLogRate(context_.peer));
}

void Generation::FindSuccessor(const absl::Status& status) {
  const Clock::TimePoint now = shared_.clock.Now();
  account_.Lose(now);
  const Takeover::Circumstances loss = CircumstancesOf(status);
  // Who is cut short still shows his worker's pace: else one that is too slow for everybody's
  // deadline would be believed to be as fast as it was.
  const bool is_cut = absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
  if (is_cut) account_.Learn(*lease_, shared_.pool);
  lease_.reset();  // no load of that worker any more
  switch (takeover_.Lose(status, loss, now)) {
    case Takeover::Verdict::kEnd:
      return Conclude(status);
    case Takeover::Verdict::kPoison:
      shared_.metrics.CountPoisoned(account_.variant_index());
      return Conclude(takeover_.Poison(request_id_));
    case Takeover::Verdict::kSearch:
      // A loss happens; who lies may lie to all.
      if (HasLied(status) && !shared_.retries.Withdraw()) return Conclude(status);
      if (HasLied(status)) ledger_.Doubt();
      if (const std::size_t bytes = BytesToMove(); bytes > kMaxMessageBytes) {
        return Conclude(takeover_.TooLarge(bytes));
      }
      takeover_.SearchFrom(takeover_.is_suspect() ? shared_.moves.TakePlaceOfSuspect()
                                                  : shared_.moves.TakePlace());
      break;
    case Takeover::Verdict::kGoOn:
      break;
  }
  Search();
}

Takeover::Circumstances Generation::CircumstancesOf(const absl::Status& status) const {
  Takeover::Circumstances loss{.worker = lease_->decision().worker,
                               .tokens = ledger_.tokens(),
                               .together = lease_->lost_together()};
  if (IsLoss(status)) loss.fleet = shared_.pool.LossesOf(account_.variant_index());
  return loss;
}

std::size_t Generation::BytesToMove() const {
  return request_.ByteSizeLong() + ledger_.MakeResumeState().ByteSizeLong();
}

// Nothing else happens to it meanwhile but Cancel and Resume.
void Generation::Search() {
  const Clock::TimePoint now = shared_.clock.Now();
  if (is_over()) return Conclude(CancelStatus());
  if (!ledger_.started()) return attempts_.last().ok() ? FindFirst() : FindNext();
  if (MayGoOn(now) && LeaseSuccessor(now).ok()) return StartAttempt();
  if (takeover_.IsOver(now)) return Conclude(takeover_.NobodyIsLeft());
  TellMoving(now);
  WaitForTurn(takeover_.NextLook(now));
}

// Nobody of the variant would be left if it were what its workers are lost of.
bool Generation::MayGoOn(Clock::TimePoint now) const {
  if (!takeover_.MayTry(now) || !takeover_.spares_the_last()) return takeover_.MayTry(now);
  const fleet::VariantState variant = shared_.pool.Describe(account_.variant_index());
  return variant.live >= 2 || variant.configured == 1;
}

// Of a stream that has brought all but its end there is nothing to say.
void Generation::TellMoving(Clock::TimePoint now) {
  const bool is_due = now - std::max(told_moving_at_, takeover_.lost_at()) >= kProgressInterval;
  const auto goes_on = [](const auto& output) { return !output.second.finished; };
  const bool has_more =
      ledger_.outputs().empty() || std::ranges::any_of(ledger_.outputs(), goes_on);
  if (!request_.request().progress() || !is_due || !has_more) return;
  told_moving_at_ = now;
  v1::GenerateResponse event;
  event.mutable_progress()->set_reason(v1::SILENCE_REASON_MOVING);
  MutexLock lock(mu_);
  if (waiting_.empty()) sink_->Write(event);  // one that finds no room says nothing that matters
}

void Generation::WaitForTurn(Clock::TimePoint look) {
  {
    MutexLock lock(mu_);
    if (!cancelled_) {
      idle_ = shared_from_this();
      shared_.moves.CallAt(std::min(look, context_.deadline.value_or(look)), weak_from_this());
      return;
    }
  }
  Conclude(CancelStatus());
}

void Generation::OnTurn() {
  {
    MutexLock lock(mu_);
    if (!idle_) return;  // it was cancelled
    idle_.reset();       // the schedule holds it
  }
  Search();
}

}  // namespace thinkwire::router
