#include "router/generation.h"

#include <random>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/log.h"
#include "common/rpc/deadline.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "router/query.h"

namespace thinkwire::router {
namespace {

std::uint64_t RandomBits() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

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
      request_id_(absl::StrFormat("%016x%016x", RandomBits(), RandomBits())),
      sink_(std::move(sink)) {}

Generation::~Generation() = default;

void Generation::Start(v1::GenerateRequest request) {
  if (const absl::Status status = Lease(MakeQuery(request)); !status.ok()) {
    End(status);
    return;
  }
  if (!request.has_seed()) request.set_seed(RandomBits());
  *request_.mutable_request() = std::move(request);
  request_.set_request_id(request_id_);
  StartAttempt();
}

absl::Status Generation::Lease(const decision::Query& query) {
  auto lease = shared_.pool.Lease(shared_.policy, query);
  if (!lease.ok()) {
    variant_ = rpc::ErrorMetadata(lease.status(), "variant");
    return lease.status();
  }
  lease_.emplace(*std::move(lease));
  const std::size_t variant = lease_->decision().variant;
  variant_ = shared_.variants[variant].name;
  meter_.emplace(shared_.metrics.streams(variant), arrival_);
  return absl::OkStatus();
}

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
  if (!ledger_.Add(message, now)) return true;
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
    ended_ = status;
  }
  Flush();
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
  if (event.has_started()) {
    CompleteStarted(*event.mutable_started(), now);
  } else if (event.has_reasoning_delta()) {
    count(StreamPhase::kReasoning, event.reasoning_delta().token_ids_size());
  } else if (event.has_reasoning_finished()) {
    count(StreamPhase::kReasoning, event.reasoning_finished().token_ids_size());
  } else if (event.has_answer_delta()) {
    count(StreamPhase::kAnswer, event.answer_delta().token_ids_size());
  } else if (event.has_finished()) {
    count(StreamPhase::kAnswer, event.finished().token_ids_size());
  } else if (event.has_completed()) {
    discarded_tokens_ = event.completed().usage().discarded_tokens();
    rpc::SetDuration(now - arrival_, event.mutable_completed()->mutable_timings()->mutable_total());
  }
}

void Generation::CompleteStarted(v1::Started& started, Clock::TimePoint now) {
  started.set_request_id(request_id_);
  started.set_variant(variant_);
  started.set_worker(lease_->client().address());
  started.set_variant_reason(lease_->decision().variant_reason);
  started.set_worker_reason(lease_->decision().worker_reason);
  meter_->Start(started.prompt_tokens(), started.cached_prompt_tokens(), now);
}

void Generation::End(const absl::Status& status) {
  const Clock::TimePoint now = shared_.clock.Now();
  // A request that was refused had no times.
  const bool waited = absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
  if (meter_ && (meter_->started() || waited)) meter_->End(discarded_tokens_, now);
  shared_.metrics.EndRequest(variant_, absl::StatusCodeToString(status.code()), phase());
  Log(status, now);
  lease_.reset();
  sink_->Finish(status);
}

void Generation::Log(const absl::Status& status, Clock::TimePoint now) const {
  const TokenCounts tokens = counts();
  LogInfo("request ended", {{"request_id", request_id_},
                            {"traceparent", context_.traceparent},
                            {"variant", variant_},
                            {"worker", lease_ ? lease_->client().address() : ""},
                            {"code", absl::StatusCodeToString(status.code())},
                            {"reason", status.ok() ? "" : rpc::ErrorReason(status)},
                            {"phase", ToString(phase())},
                            {"prompt_tokens", tokens.prompt},
                            {"cached_prompt_tokens", tokens.cached_prompt},
                            {"reasoning_tokens", tokens.reasoning},
                            {"answer_tokens", tokens.answer},
                            {"discarded_tokens", tokens.discarded},
                            {"total_s", ToSeconds(now - arrival_)}});
}

}  // namespace thinkwire::router
