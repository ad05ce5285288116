#include "router/generation.h"

#include <chrono>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/end_level.h"
#include "common/log.h"
#include "common/random_bits.h"
#include "common/rpc/deadline.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/request_id.h"
#include "common/rpc/status_details.h"
#include "common/status.h"
#include "router/cache_salt.h"
#include "router/decision/completion_estimate.h"
#include "router/prompt_hash.h"
#include "router/query.h"

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
      sink_(std::move(sink)) {}

Generation::~Generation() = default;

void Generation::Start(v1::GenerateRequest request) {
  if (!request.has_seed()) request.set_seed(DrawSeed());
  if (shared_.cache_salts != nullptr) {
    request.set_cache_salt(shared_.cache_salts->For(context_.peer, request.cache_salt()));
  }
  *request_.mutable_request() = std::move(request);
  request_.set_request_id(request_id_);
  if (const absl::Status status = Lease(); !status.ok()) {
    variant_ = rpc::ErrorMetadata(status, "variant");
    End(status);
    return;
  }
  StartAttempt();
}

// A place on a worker that was not tried yet.
absl::Status Generation::Lease() {
  decision::Query query = MakeQuery(request_.request());
  query.tried = attempts_.tried();
  if (context_.deadline) query.deadline_s = ToSeconds(*context_.deadline - shared_.clock.Now());
  decision::PromptMarks marks =
      MarkPrompt(request_.request(), shared_.pool.prefix_key(), context_.peer);
  ASSIGN_OR_RETURN(fleet::WorkerLease lease,
                   shared_.pool.Lease(shared_.policy, query, std::move(marks)));
  lease_.emplace(std::move(lease));
  const std::size_t variant = lease_->decision().variant;
  taken_ = {.variant = variant,
            .task = decision::TaskOf(query),
            .prompt_bytes = static_cast<double>(query.prompt_bytes)};
  variant_ = shared_.variants[variant].name;
  cause_ = decision::CauseName(lease_->decision().cause);
  shared_.metrics.CountDecision(variant_, cause_);
  worker_ = lease_->client().address();
  request_.set_expected_fingerprint(shared_.variants[variant].require_fingerprint);
  attempts_.Begin(lease_->decision().worker);
  meter_.emplace(shared_.metrics.streams(variant), arrival_);
  return absl::OkStatus();
}

// The hooks of the attempt may run before this returns: the last that its caller does.
void Generation::StartAttempt() {
  request_.set_attempt(request_.attempt() + 1);
  auto attempt = lease_->client().Generate(context_, shared_from_this());
  bool cancelled = false;
  {
    MutexLock lock(mu_);
    attempt_ = attempt;
    cancelled = cancelled_;
  }
  // Whoever cancelled before now had no attempt to end.
  if (cancelled) attempt->Cancel();
  attempt->Start(request_);
}

bool Generation::OnMessage(v1::WorkerGenerateResponse message) {
  const Clock::TimePoint now = shared_.clock.Now();
  lease_->Answered();
  if (!message.has_event()) return true;
  if (!message.event().has_queued()) lease_->Begun();
  if (!ledger_.Add(message, now)) return true;
  heard_ = true;
  if (ledger_.has_prompt_ids()) DropPrompt();
  CountBytes();
  Complete(*message.mutable_event(), now);
  {
    MutexLock lock(mu_);
    waiting_ = std::move(*message.mutable_event());
  }
  return Flush() == Flushed::kAtOnce;
}

// Another worker would go on from the prompt's ids. Clearing the field might keep its memory.
void Generation::DropPrompt() {
  const std::unique_ptr<v1::Prompt> freed(request_.mutable_request()->release_prompt());
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
  }
  lease_->Ended(status);
  if (!status.ok() && !heard_) {
    attempts_.Fail(status);
    if (TryAnother(status)) return;
  }
  {
    MutexLock lock(mu_);
    ended_ = status.ok() || heard_ ? status : attempts_.Best();
  }
  Flush();
}

bool Generation::is_over() {
  MutexLock lock(mu_);
  return cancelled_ || (context_.deadline && shared_.clock.Now() >= *context_.deadline);
}

// Gives the request to another worker, after `status` and no event. False: nobody has it.
bool Generation::TryAnother(const absl::Status& status) {
  if (!attempts_.MayGoOn() || is_over()) return false;
  const std::string reason = rpc::ErrorReason(status);
  const std::string left = worker_;
  lease_.reset();  // no load of that worker any more
  if (!Lease().ok()) return false;
  shared_.metrics.CountRetry(variant_, reason);
  thinkwire::Log(LogLevel::kWarning, "request retried",
                 {{"request_id", request_id_},
                  {"attempt", request_.attempt()},
                  {"reason", reason},
                  {"worker", left},
                  {"next_worker", worker_}},
                 RequestLogRate(context_.peer));
  StartAttempt();
  return true;
}

// Writes the event that waits, then the end. Called wherever one of them, or room, is new.
Generation::Flushed Generation::Flush() {
  std::shared_ptr<fleet::WorkerAttempt> go_on;
  std::optional<absl::Status> end;
  {
    MutexLock lock(mu_);
    if (waiting_) {
      if (!cancelled_ && !sink_->Write(*waiting_)) {
        paused_ = true;
        return Flushed::kLater;
      }
      waiting_.reset();
      if (std::exchange(paused_, false)) go_on = attempt_;
    }
    if (ended_ && !end_told_) {
      end_told_ = true;
      end = cancelled_ ? rpc::CancelStatus(context_.deadline, arrival_, shared_.clock.Now())
                       : *ended_;
    }
  }
  if (go_on) go_on->ReadMore();
  if (end) End(*end);
  return Flushed::kAtOnce;
}

void Generation::Cancel() {
  std::shared_ptr<fleet::WorkerAttempt> attempt;
  {
    MutexLock lock(mu_);
    cancelled_ = true;
    attempt = attempt_;
  }
  if (attempt) attempt->Cancel();
  Flush();  // drops what waits, so that an end that is known already can be told
}

// Adds what only the router knows, and counts.
void Generation::Complete(v1::GenerateResponse& event, Clock::TimePoint now) {
  const auto count = [&](StreamPhase phase, int tokens) { meter_->AddTokens(phase, tokens, now); };
  if (event.has_queued()) {
    CompleteQueued(*event.mutable_queued());
  } else if (event.has_started()) {
    CompleteStarted(*event.mutable_started(), now);
  } else if (event.has_reasoning_delta()) {
    count(StreamPhase::kReasoning, event.reasoning_delta().token_ids_size());
  } else if (event.has_reasoning_finished()) {
    const v1::ReasoningFinished& finished = event.reasoning_finished();
    count(StreamPhase::kReasoning, finished.token_ids_size());
    if (finished.cause() == v1::REASONING_FINISH_CAUSE_MODEL) {
      taken_.reasoning_tokens = finished.reasoning_tokens();
    }
  } else if (event.has_answer_delta()) {
    count(StreamPhase::kAnswer, event.answer_delta().token_ids_size());
  } else if (event.has_finished()) {
    const bool answered = event.finished().phase() == v1::PHASE_ANSWER;
    count(answered ? StreamPhase::kAnswer : StreamPhase::kReasoning,
          event.finished().token_ids_size());
    if (answered && event.finished().reason() != v1::FINISH_REASON_LENGTH) {
      taken_.answer_tokens = counts().answer;
    }
  } else if (event.has_completed()) {
    discarded_tokens_ = event.completed().usage().discarded_tokens();
    rpc::SetDuration(now - arrival_, event.mutable_completed()->mutable_timings()->mutable_total());
  }
}

// By the pace that was measured here, which the worker does not tell of.
void Generation::CompleteQueued(v1::Queued& queued) const {
  queued.clear_estimated_wait();
  const std::chrono::duration<double> place(lease_->decision().place_s);
  if (place.count() <= 0) return;
  rpc::SetDuration(std::chrono::duration_cast<Clock::Duration>(place * (queued.position() + 1)),
                   queued.mutable_estimated_wait());
}

void Generation::CompleteStarted(v1::Started& started, Clock::TimePoint now) {
  started.set_request_id(request_id_);
  started.set_variant(variant_);
  started.set_worker(lease_->client().address());
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
  taken_.prompt_tokens = started.prompt_tokens();
  lease_->HasPrompt(started.prompt_tokens(), started.cached_prompt_tokens());
  shared_.metrics.CountPrefix(
      variant_, decision::PrefixUse(lease_->decision(), started.cached_prompt_tokens()));
  meter_->Start(started.prompt_tokens(), started.cached_prompt_tokens(), now);
}

// A prompt that was not cached shows the worker's rate, if it is long enough to be measured.
void Generation::Learn() {
  constexpr int kMinPromptTokens = 256;
  const int computed = counts().prompt - counts().cached_prompt;
  const double rate =
      computed >= kMinPromptTokens && meter_->prompt_s() > 0 ? computed / meter_->prompt_s() : 0;
  shared_.pool.Learn(*lease_, taken_, meter_->seconds_per_token(), rate);
}

void Generation::End(const absl::Status& status) {
  const Clock::TimePoint now = shared_.clock.Now();
  // A request that was refused had no times.
  const bool waited = absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
  if (meter_ && (meter_->started() || waited)) meter_->End(discarded_tokens_, now);
  const std::string code = absl::StatusCodeToString(status.code());
  shared_.metrics.EndRequest(variant_, code, phase());
  shared_.metrics.CountTenant(context_.tenant, code, counts());
  Log(status, now);
  if (status.ok()) Learn();
  lease_.reset();
  sink_->Finish(status, status.ok() ? std::nullopt : UsageSoFar());
}

std::optional<v1::Usage> Generation::UsageSoFar() const {
  if (!meter_ || !meter_->started()) return std::nullopt;
  v1::Usage usage;
  usage.set_prompt_tokens(counts().prompt);
  usage.set_cached_prompt_tokens(counts().cached_prompt);
  usage.set_reasoning_tokens(counts().reasoning);
  usage.set_answer_tokens(counts().answer);
  for (const auto& [index, output] : ledger_.outputs()) {
    usage.set_forced_tokens(usage.forced_tokens() + output.forced_tokens);
  }
  return usage;
}

void Generation::Log(const absl::Status& status, Clock::TimePoint now) const {
  const TokenCounts tokens = counts();
  thinkwire::Log(LevelOfEnd(status.code()), "request ended",
                 {{"request_id", request_id_},
                  {"x_request_id", context_.id.of_client},
                  {"traceparent", context_.traceparent},
                  {"tenant", context_.tenant},
                  {"variant", variant_},
                  {"worker", worker_},
                  {"attempts", request_.attempt()},
                  {"code", absl::StatusCodeToString(status.code())},
                  {"reason", status.ok() ? "" : rpc::ErrorReason(status)},
                  {"phase", ToString(phase())},
                  {"prompt_tokens", tokens.prompt},
                  {"cached_prompt_tokens", tokens.cached_prompt},
                  {"reasoning_tokens", tokens.reasoning},
                  {"answer_tokens", tokens.answer},
                  {"discarded_tokens", tokens.discarded},
                  {"total_s", ToSeconds(now - arrival_)}},
                 RequestLogRate(context_.peer));
}

}  // namespace thinkwire::router
