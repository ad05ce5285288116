#include "router/account.h"

#include <algorithm>
#include <chrono>

#include "common/end_level.h"
#include "common/log.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "common/trace_context.h"
#include "router/decision/completion_estimate.h"

namespace thinkwire::router {

void Account::Choose(const std::string& name, const decision::Decision& decision,
                     const decision::Query& query) {
  taken_ = {.variant = decision.variant,
            .task = decision::TaskOf(query),
            .prompt_bytes = static_cast<double>(query.prompt_bytes)};
  variant_ = name;
  cause_ = decision::CauseName(decision.cause);
  metrics_.CountDecision(variant_, cause_);
  meter_.emplace(metrics_.streams(decision.variant), arrival_);
}

void Account::Restart(const std::string& name, const decision::Decision& decision,
                      std::int32_t discarded, Clock::TimePoint left_at, Clock::TimePoint now) {
  const TokenCounts left = meter_->counts();
  meter_->End(discarded, now);
  void_tokens_ += left.reasoning + left.answer + discarded;
  void_prompt_tokens_ += left.prompt;
  ++restarts_;
  in_parts_ = false;
  lost_at_.reset();
  variant_ = name;
  taken_ = {.variant = decision.variant, .task = taken_.task, .prompt_bytes = taken_.prompt_bytes};
  meter_.emplace(metrics_.streams(decision.variant), left_at);
}

TokenCounts Account::counts() const {
  TokenCounts counts = meter_ ? meter_->counts() : TokenCounts{};
  counts.discarded += void_tokens_;
  return counts;
}

void Account::Count(const v1::GenerateResponse& event, Clock::TimePoint now) {
  if (event.has_started()) {
    started_at_ = started_at_.value_or(now);
    taken_.prompt_tokens = event.started().prompt_tokens();
    meter_->Start(event.started().prompt_tokens(), event.started().cached_prompt_tokens(), now);
  } else if (event.has_reasoning_delta()) {
    CountTokens(StreamPhase::kReasoning, event.reasoning_delta().token_ids_size(), now);
  } else if (event.has_reasoning_finished()) {
    const v1::ReasoningFinished& finished = event.reasoning_finished();
    CountTokens(StreamPhase::kReasoning, finished.token_ids_size(), now);
    const bool is_first = finished.output_index() == 0;
    if (is_first && finished.cause() == v1::REASONING_FINISH_CAUSE_MODEL) {
      taken_.reasoning_tokens = finished.reasoning_tokens();
    }
  } else if (event.has_answer_delta()) {
    CountTokens(StreamPhase::kAnswer, event.answer_delta().token_ids_size(), now);
  } else if (event.has_finished()) {
    CountFinished(event.finished(), now);
  } else if (event.has_completed()) {
    discarded_tokens_ = event.completed().usage().discarded_tokens();
  }
}

void Account::CountFinished(const v1::Finished& finished, Clock::TimePoint now) {
  const bool answered = finished.phase() == v1::PHASE_ANSWER;
  CountTokens(answered ? StreamPhase::kAnswer : StreamPhase::kReasoning, finished.token_ids_size(),
              now);
  if (finished.output_index() > 0) {
    has_several_ = true;
  } else if (answered && finished.reason() != v1::FINISH_REASON_LENGTH) {
    taken_.answer_tokens = finished.tokens().answer_tokens();
  }
}

void Account::CountTokens(StreamPhase phase, int tokens, Clock::TimePoint now) {
  meter_->AddTokens(phase, tokens, now);
  EndGap(tokens, now);
}

void Account::CountHeld(const v1::GenerateResponse& event, Clock::TimePoint now) {
  was_held_ = true;
  EndGap(event.reasoning_delta().token_ids_size() + event.answer_delta().token_ids_size(), now);
}

void Account::DiscardBeyond(std::int64_t tokens) {
  const std::int64_t beyond = tokens - counts().reasoning - counts().answer;
  discarded_tokens_ = std::max(discarded_tokens_, static_cast<std::int32_t>(beyond));
}

void Account::EndGap(int tokens, Clock::TimePoint now) {
  if (!lost_at_ || tokens == 0) return;
  metrics_.ObserveResumeGap(taken_.variant, ToSeconds(now - *lost_at_));
  lost_at_.reset();
}

void Account::Lose(Clock::TimePoint now) {
  if (!lost_at_) lost_at_ = now;
}

void Account::Move(std::string_view reason) {
  ++moves_;
  in_parts_ = true;
  metrics_.CountMove(variant_, reason);
}

void Account::End(const absl::Status& status, const std::string& tenant, Clock::TimePoint now) {
  // A request that was refused had no times.
  const bool waited = absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
  if (meter_ && (meter_->started() || waited)) meter_->End(discarded_tokens_, now);
  const std::string code = absl::StatusCodeToString(status.code());
  metrics_.EndRequest(variant_, code, phase());
  TokenCounts taken = counts();
  taken.prompt += void_prompt_tokens_;
  metrics_.CountTenant(tenant, code, taken);
}

void Account::TellTimes(v1::Timings& timings, Clock::TimePoint now) const {
  rpc::SetDuration(meter_->queue_time(now), timings.mutable_queue());
  const std::chrono::duration<double> prompt(meter_->prompt_s());
  rpc::SetDuration(std::chrono::duration_cast<Clock::Duration>(prompt), timings.mutable_prefill());
  const auto answer = meter_->phase_time(StreamPhase::kAnswer);
  if (answer) rpc::SetDuration(*answer, timings.mutable_answer());
}

// A prompt that was not cached shows the worker's rate, if it is long enough to be measured. The
// pace of a stream that has moved is nobody's, that of several outputs is none of one, and that of
// one that was held back the router's.
void Account::Learn(const fleet::WorkerLease& lease, fleet::WorkerPool& pool) const {
  constexpr int kMinPromptTokens = 256;
  const int computed = counts().prompt - counts().cached_prompt;
  const bool is_whole = !in_parts_ && !was_held_;
  const bool shows_rate = is_whole && computed >= kMinPromptTokens && meter_->prompt_s() > 0;
  const bool shows_pace = is_whole && !has_several_;
  pool.Learn(lease, taken_, shows_pace ? meter_->seconds_per_token() : 0,
             shows_rate ? computed / meter_->prompt_s() : 0);
}

void Account::Log(const absl::Status& status, const std::string& request_id,
                  const fleet::CallContext& context, const std::string& worker,
                  std::int32_t attempts, Clock::TimePoint now) const {
  const TokenCounts tokens = counts();
  thinkwire::Log(LevelOfEnd(status.code()), "request ended",
                 {{"request_id", request_id},
                  {"x_request_id", context.id.of_client},
                  {"traceparent", context.traceparent},
                  {"tenant", context.tenant},
                  {"variant", variant_},
                  {"cause", cause_},
                  {"worker", worker},
                  {"attempts", attempts},
                  {"moves", moves_},
                  {"restarts", restarts_},
                  {"code", absl::StatusCodeToString(status.code())},
                  {"reason", status.ok() ? "" : rpc::ErrorReason(status)},
                  {"phase", ToString(phase())},
                  {"prompt_tokens", tokens.prompt},
                  {"cached_prompt_tokens", tokens.cached_prompt},
                  {"reasoning_tokens", tokens.reasoning},
                  {"answer_tokens", tokens.answer},
                  {"discarded_tokens", tokens.discarded},
                  {"total_s", ToSeconds(now - arrival_)}},
                 RequestLogRate(context.peer));
  if (context.trace) {
    LogSpans(absl::StatusCodeToString(status.code()), request_id, context, now);
  }
}

void Account::LogSpans(std::string_view code, const std::string& request_id,
                       const fleet::CallContext& context, Clock::TimePoint now) const {
  const TraceContext& trace = *context.trace;
  const LogRate rate = RequestLogRate(context.peer);
  LogSpan({.name = "thinkwire.router",
           .kind = SpanKind::kServer,
           .trace_id = trace.trace_id,
           .span_id = trace.span_id,
           .parent_span_id = trace.parent_id,
           .start = arrival_,
           .end = now},
          code, request_id, now, rate);
  const std::string queue_id = MakeSpanId();
  LogSpan({.name = "thinkwire.queue",
           .kind = SpanKind::kInternal,
           .trace_id = trace.trace_id,
           .span_id = queue_id,
           .parent_span_id = trace.span_id,
           .start = arrival_,
           .end = started_at_.value_or(now)},
          started_at_ ? "OK" : code, request_id, now, rate);
}

}  // namespace thinkwire::router
