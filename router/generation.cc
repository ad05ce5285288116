#include "router/generation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/log.h"
#include "common/random_bits.h"
#include "common/rpc/deadline.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/request_id.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "router/cache_salt.h"
#include "router/query.h"
#include "router/successor_policy.h"

namespace thinkwire::router {
namespace {

// Below 2^53, so that languages whose only number is a double keep it whole.
std::uint64_t DrawSeed() { return RandomBits() >> 11; }

}  // namespace

std::shared_ptr<Generation> Generation::Make(const Shared& shared, fleet::CallContext context,
                                             std::shared_ptr<EventSink> sink) {
  std::shared_ptr<Generation> generation(
      new Generation(shared, std::move(context), std::move(sink)));
  generation->entry_ = shared.registry.Enter(generation->request_id_, generation);
  return generation;
}

Generation::Generation(const Shared& shared, fleet::CallContext context,
                       std::shared_ptr<EventSink> sink)
    : shared_(shared),
      context_(std::move(context)),
      arrival_(shared.clock.Now()),
      request_id_(context_.id.own.empty() ? rpc::MakeRequestId() : context_.id.own),
      sink_(std::move(sink)),
      account_(shared.metrics, arrival_),
      takeover_(shared.resume_wait) {}

Generation::~Generation() { CountHeldBytes(0); }

void Generation::Start(v1::GenerateRequest request) {
  shared_.retries.Deposit();
  if (!request.has_seed()) request.set_seed(DrawSeed());
  if (shared_.cache_salts != nullptr) {
    request.set_cache_salt(shared_.cache_salts->For(context_.peer, request.cache_salt()));
  }
  answer_wishes_.Begin(request);
  if (request.has_consensus()) BeginVoting(request);
  escalation_.Begin(request);
  *request_.mutable_request() = std::move(request);
  request_.set_request_id(request_id_);
  Apply();
}

// With its first place.
void Generation::Begin() {
  if (request_.request().has_resume()) {
    request_.set_allocated_resume(request_.mutable_request()->release_resume());
    ledger_.Restore(request_.resume());
  }
  StartAttempt();
}

// What a policy may know. Ids mean something for the vocabulary of one variant only.
decision::Query Generation::Describe() const {
  decision::Query query = MakeQuery(request_.request());
  query.outputs = std::max(query.outputs - ledger_.num_finished(), 1);
  if (context_.deadline) query.deadline_s = ToSeconds(*context_.deadline - shared_.clock.Now());
  if (account_.variant().empty() || request_.request().has_prompt()) return query;
  query.variant = account_.variant();
  query.wishes = {};
  query.task = account_.task();
  query.prompt_bytes = static_cast<std::size_t>(account_.prompt_bytes());
  return query;
}

// A place on a worker that was not tried yet.
absl::Status Generation::Lease() {
  decision::Query query = Describe();
  query.tried = begin_by_ ? takeover_.Avoided(shared_.clock.Now()) : attempts_.tried();
  ASSIGN_OR_RETURN(fleet::WorkerLease lease,
                   shared_.pool.Lease(shared_.policy, query, MarkPrompt()));
  Choose(std::move(lease), query);
  return absl::OkStatus();
}

void Generation::Choose(fleet::WorkerLease lease, const decision::Query& query) {
  const VariantConfig& variant = shared_.variants[lease.decision().variant];
  account_.Choose(variant.name, lease.decision(), query);
  attempts_.Begin(lease.decision().worker);
  request_.set_expected_fingerprint(variant.require_fingerprint);
  request_.set_end_without_answer(
      escalation_.RunAt(BetterVariant(shared_.variants, lease.decision().variant)));
  Take(std::move(lease));
}

// A place on a worker that may go on with the stream.
absl::Status Generation::LeaseSuccessor(Clock::TimePoint now) {
  decision::Query query = Describe();
  query.tried = takeover_.Avoided(now);
  const SuccessorPolicy policy(shared_.policy, {.variant = account_.variant_index(),
                                                .fingerprint = ledger_.fingerprint(),
                                                .context_tokens = context_tokens_,
                                                .worker = stays_at_});
  ASSIGN_OR_RETURN(fleet::WorkerLease lease, shared_.pool.Lease(policy, query, marks_));
  Take(std::move(lease));
  return absl::OkStatus();
}

void Generation::Take(fleet::WorkerLease lease) {
  lease_.emplace(std::move(lease));
  worker_ = lease_->client().address();
}

// The hooks of the attempt may run before this returns: the last that its caller does.
void Generation::StartAttempt() {
  request_.set_attempt(request_.attempt() + 1);
  ledger_.BeginAttempt(request_.attempt());
  auto attempt = lease_->client().Generate(context_, shared_from_this());
  bool cancelled = false;
  {
    MutexLock lock(mu_);
    attempt_ = attempt;
    cancelled = cancelled_;
    found_ = false;
    answer_now_tries_ = 0;
    passes_wishes_ = true;
  }
  // Whoever cancelled before now had no attempt to end.
  if (cancelled) attempt->Cancel();
  Send(*attempt);
}

// The state may be as large as prompt and output, and is needed for no longer.
void Generation::Send(fleet::WorkerAttempt& attempt) {
  if (!ledger_.has_prompt_ids() || request_.has_resume()) return attempt.Start(request_);
  v1::WorkerGenerateRequest request = request_;
  *request.mutable_resume() = ledger_.MakeResumeState();
  attempt.Start(request);
}

bool Generation::OnMessage(v1::WorkerGenerateResponse&& message) {
  const Clock::TimePoint now = shared_.clock.Now();
  const bool had_started = ledger_.started() || escalation_.is_under_way();
  lease_->Answered();
  if (!message.has_event()) return true;
  if (!message.event().has_queued()) lease_->Begun();
  if (escalation_.HoldsBack(message.event())) return true;
  if (!ledger_.Add(message, now)) return true;
  if (ledger_.has_prompt_ids()) DropPrompt();
  CountBytes();
  answer_wishes_.Note(message.event());
  if (message.event().has_finished()) lease_->OutputEnded();
  if (passes_wishes_) PassAnswerWishes();
  if (voting_ && Voting::Holds(message.event())) {
    Hold(message.event(), now);
    return true;
  }
  if (!Complete(*message.mutable_event(), had_started, now)) return true;
  return Pass(std::move(*message.mutable_event()));
}

// Another worker would go on from the prompt's ids, but another variant's has ids of its own.
// Clearing the fields might keep their memory.
void Generation::DropPrompt() {
  std::unique_ptr<v1::Prompt> prompt(request_.mutable_request()->release_prompt());
  if (prompt && request_.end_without_answer()) escalation_.Keep(std::move(prompt));
  const std::unique_ptr<v1::ResumeState> state(request_.release_resume());
}

// The ledger grows by doubling, so that it is seldom looked at closely.
void Generation::CountBytes() {
  const std::size_t ledger_bytes = ledger_.bytes();
  if (std::exchange(counted_ledger_bytes_, ledger_bytes) != ledger_bytes) held_.Keep(bytes());
}

void Generation::OnEnd(const absl::Status& status) {
  {
    MutexLock lock(mu_);
    attempt_.reset();
    paused_ = false;
  }
  lease_->Ended(status);
  if (voting_ && voting_->is_over()) return TellVote();
  if (!voting_failure_.ok()) return Conclude(voting_failure_);
  const auto held = escalation_.TakeHeld();
  if (status.ok() && held) return Escalate(*held);
  if (escalation_.is_under_way()) return FailToRestart(status);
  if (status.ok()) return Conclude(status);
  if (ledger_.started()) return FindSuccessor(status);
  FindAnother(status);
}

bool Generation::is_over() {
  MutexLock lock(mu_);
  return cancelled_ || (context_.deadline && shared_.clock.Now() >= *context_.deadline);
}

absl::Status Generation::CancelStatus() const {
  return rpc::CancelStatus(context_.deadline, arrival_, shared_.clock.Now());
}

void Generation::Cancel() {
  std::shared_ptr<fleet::WorkerAttempt> attempt;
  std::shared_ptr<Generation> self;
  {
    MutexLock lock(mu_);
    cancelled_ = true;
    attempt = attempt_;
    self.swap(idle_);
    if (self) ended_ = absl::CancelledError();
  }
  if (attempt) attempt->Cancel();
  Flush();  // drops what waits, so that an end that is known already can be told
}

// Adds what only the router knows, and counts. False: the client is not to see it.
bool Generation::Complete(v1::GenerateResponse& event, bool had_started, Clock::TimePoint now) {
  if (event.has_queued()) {
    if (had_started) return false;
    CompleteQueued(*event.mutable_queued());
  } else if (event.has_started()) {
    takeover_.Begin(worker_);
    if (had_started) return CompleteStartedAgain(event, now);
    NotePrompt(event.started());
    CompleteStarted(*event.mutable_started());
  }
  account_.Count(event, now);
  if (event.has_completed()) CompleteCompleted(*event.mutable_completed(), now);
  return true;
}

// False: it goes on where it was, and the client need not know of that.
bool Generation::CompleteStartedAgain(v1::GenerateResponse& event, Clock::TimePoint now) {
  const bool stays = std::exchange(stays_at_, std::nullopt).has_value();
  if (escalation_.is_under_way()) {
    event = Restart(event.started(), now);
    return true;
  }
  NotePrompt(event.started());
  if (stays && worker_ == takeover_.previous_address()) return false;
  event = MakeMoved(now);
  return true;
}

// By the pace that was measured here, which the worker does not tell of.
void Generation::CompleteQueued(v1::Queued& queued) const {
  queued.clear_estimated_wait();
  const std::chrono::duration<double> place(lease_->decision().place_s);
  if (place.count() <= 0) return;
  rpc::SetDuration(std::chrono::duration_cast<Clock::Duration>(place * (queued.position() + 1)),
                   queued.mutable_estimated_wait());
}

// Of the prompt's beginning, for decisions to come.
void Generation::NotePrompt(const v1::Started& started) {
  lease_->HasPrompt(started.prompt_tokens(), started.cached_prompt_tokens());
  shared_.metrics.CountPrefix(
      account_.variant(), decision::PrefixUse(lease_->decision(), started.cached_prompt_tokens()));
}

void Generation::CompleteStarted(v1::Started& started) {
  started.set_request_id(request_id_);
  started.set_variant(account_.variant());
  started.set_worker(worker_);
  started.set_variant_reason(lease_->decision().variant_reason);
  started.set_worker_reason(lease_->decision().worker_reason);
  if (const std::string tried = attempts_.Describe(); !tried.empty()) {
    absl::StrAppend(started.mutable_worker_reason(), "; ", tried);
  }
  started.clear_expected_thinking();
  const LengthQuantiles& reasoning = lease_->decision().expected_reasoning;
  if (reasoning.p50 > 0) {
    started.mutable_expected_thinking()->set_p50_tokens(std::lround(reasoning.p50));
    started.mutable_expected_thinking()->set_p90_tokens(std::lround(reasoning.p90));
  }
  NoteLimits(started);
}

// What the client is told now holds at whichever worker goes on.
void Generation::NoteLimits(const v1::Started& started) {
  const std::int32_t max_tokens = started.limits().max_tokens();
  request_.mutable_request()->set_max_tokens(max_tokens);
  request_.mutable_request()->clear_clamp_max_tokens();
  context_tokens_ = std::int64_t{started.prompt_tokens()} + max_tokens;
}

v1::GenerateResponse Generation::MakeMoved(Clock::TimePoint now) {
  const std::string reason = rpc::ErrorReason(takeover_.loss());
  account_.Move(reason);
  Log(LogLevel::kWarning, "stream moved",
      {{"request_id", request_id_},
       {"attempt", request_.attempt()},
       {"reason", reason},
       {"worker", takeover_.previous_address()},
       {"next_worker", worker_},
       {"exact", ledger_.exact()},
       {"after_s", ToSeconds(now - takeover_.lost_at())}},
      RequestLogRate(context_.peer));
  v1::GenerateResponse event;
  v1::Moved& moved = *event.mutable_moved();
  moved.set_worker(worker_);
  moved.set_previous_worker(takeover_.previous_address());
  moved.set_reason(takeover_.Describe());
  moved.set_exact(ledger_.exact());
  return event;
}

void Generation::CompleteCompleted(v1::Completed& completed, Clock::TimePoint now) const {
  completed.set_resumes(account_.moves());
  v1::Usage& usage = *completed.mutable_usage();
  usage.set_cached_prompt_tokens(ledger_.cached_prompt_tokens());
  usage.set_discarded_tokens(usage.discarded_tokens() + ledger_.void_tokens());
  if (account_.is_in_parts()) account_.TellTimes(*completed.mutable_timings(), now);
  rpc::SetDuration(now - arrival_, completed.mutable_timings()->mutable_total());
}

void Generation::End(const absl::Status& status) {
  const Clock::TimePoint now = shared_.clock.Now();
  if (voting_) CountVote(status);
  GoBack();  // where the next run never started
  account_.End(status, context_.tenant, now);
  account_.Log(status, request_id_, context_, worker_, request_.attempt(), now);
  if (status.ok()) account_.Learn(*lease_, shared_.pool);
  EndAdmission();
  lease_.reset();
  const bool tells = !status.ok() && ledger_.started();
  sink_->Finish(status, tells ? std::optional(MakeUsage()) : std::nullopt);
}

}  // namespace thinkwire::router
