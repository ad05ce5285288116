// How a generation begins anew at a better variant, where its reasoning came to no answer.

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/log.h"
#include "common/strings.h"
#include "router/attempts.h"
#include "router/generation.h"
#include "router/successor_policy.h"

namespace thinkwire::router {
namespace {

// The word of metrics and logs.
std::string_view NameOf(v1::ReasoningFinishCause cause) {
  return cause == v1::REASONING_FINISH_CAUSE_LOOP ? "loop" : "length";
}

}  // namespace

// Its worker has ended well, and nothing else happens to it meanwhile but Cancel and AnswerNow. Who
// wants an answer now has what there is of reasoning.
void Generation::Escalate(v1::ReasoningFinishCause cause) {
  account_.Learn(*lease_, shared_.pool);
  Escalation::Run run{
      .request = request_, .worker = lease_->decision().worker, .left_at = shared_.clock.Now()};
  Ledger next = ledger_.MakeNext(escalation_.discarded_tokens());
  run.ledger = std::exchange(ledger_, std::move(next));
  request_ = escalation_.Leave(std::move(run), cause);
  lease_.reset();  // no load of that worker any more
  if (is_over()) return Conclude(CancelStatus());
  if (!answer_wishes_.Open().empty() || !LeaseBetter()) return Stay();
  StartAttempt();
}

// A place that is free now, and for which there is time.
bool Generation::LeaseBetter() {
  const std::size_t better = escalation_.better();
  const VariantConfig& variant = shared_.variants[better];
  decision::Query query = Describe();
  query.variant = variant.name;
  query.wishes = {};
  query.tried = escalation_.tried();
  const SuccessorPolicy policy(shared_.policy, {.variant = better});
  auto lease = LeaseAtOnce(policy, query);
  if (!lease.ok() || !CanBeInTime(lease->decision())) return false;
  const bool may_follow =
      escalation_.Try(lease->decision().worker, BetterVariant(shared_.variants, better));
  request_.set_expected_fingerprint(variant.require_fingerprint);
  request_.set_end_without_answer(may_follow);
  RunNextAt(variant.name, lease->decision());
  Take(*std::move(lease));
  return true;
}

// As half of such requests are, where the variant's pace is known.
bool Generation::CanBeInTime(const decision::Decision& decision) const {
  if (!context_.deadline || decision.service_s <= 0) return true;
  const double left_s = ToSeconds(*context_.deadline - shared_.clock.Now());
  return decision.expected_wait_s + decision.service_s <= left_s;
}

void Generation::FailToRestart(const absl::Status& status) {
  lease_.reset();
  if (is_over() || absl::IsDeadlineExceeded(status)) return Conclude(status);
  const bool may = escalation_.MayTryAgain() && !WhatBecameOfWorker(status).empty() &&
                   shared_.retries.Withdraw();
  if (may && LeaseBetter()) return StartAttempt();
  Stay();
}

// It goes on with the run that it has left, and answers.
void Generation::Stay() {
  const std::string_view cause = NameOf(escalation_.cause());
  stays_at_ = escalation_.left().worker;
  GoBack();
  account_.GoOn();
  shared_.metrics.CountEscalation(account_.variant(), cause, false);
  Log(LogLevel::kInfo, "stream not restarted",
      {{"request_id", request_id_}, {"variant", account_.variant()}, {"cause", cause}},
      RequestLogRate(context_.peer));
  takeover_.GoOn(takeover_.address(), shared_.clock.Now());
  Search();
}

void Generation::GoBack() {
  if (!escalation_.is_under_way()) return;
  next_running_ = {};
  Escalation::Run run = escalation_.GoBack();
  ledger_ = std::move(run.ledger);
  run.request.set_attempt(request_.attempt());
  request_ = std::move(run.request);
}

// What the client sees in place of a second Started.
v1::GenerateResponse Generation::Restart(const v1::Started& started, Clock::TimePoint now) {
  const std::string left = account_.variant();
  const std::string cause(NameOf(escalation_.cause()));
  const std::string& name = shared_.variants[escalation_.better()].name;
  account_.Restart(name, lease_->decision(), escalation_.discarded_tokens(),
                   escalation_.left().left_at, now);
  NotePrompt(started);
  NoteLimits(started);
  v1::GenerateResponse event;
  *event.mutable_started() = started;
  account_.Count(event, now);
  takeover_.BeginAnew();
  running_.Took(static_cast<double>(escalation_.left().ledger.tokens()));
  running_ = std::exchange(next_running_, {});
  escalation_.Restart();
  shared_.metrics.CountEscalation(left, cause, true);
  Log(LogLevel::kInfo, "stream restarted",
      {{"request_id", request_id_},
       {"attempt", request_.attempt()},
       {"cause", cause},
       {"variant", left},
       {"next_variant", name},
       {"next_worker", worker_}},
      RequestLogRate(context_.peer));
  v1::Restarted& restarted = *event.mutable_restarted();
  restarted.set_variant(name);
  restarted.set_worker(worker_);
  restarted.set_reason(absl::StrCat(left, " ", View(WhatBecameOfReasoning(escalation_.cause()))));
  restarted.set_fingerprint(started.fingerprint());
  *restarted.mutable_limits() = started.limits();
  restarted.set_prompt_tokens(started.prompt_tokens());
  restarted.set_first_phase(started.first_phase());
  restarted.set_cause(escalation_.cause());
  if (started.has_effective()) *restarted.mutable_effective() = started.effective();
  return event;
}

}  // namespace thinkwire::router
