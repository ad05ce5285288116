#include "router/account.h"

#include <algorithm>
#include <chrono>

#include "common/end_level.h"
#include "common/log.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "router/decision/completion_estimate.h"

namespace thinkwire::router {

void Account::Choose(const std::string& name, const decision::Decision& decision,
                     const decision::Query& query) {
  taken_ = {.variant = decision.variant,
            .task = decision::TaskOf(query),
            .prompt_bytes = static_cast<double>(query.prompt_bytes)};
  variant_ = name;
  metrics_.CountDecision(variant_, decision::CauseName(decision.cause));
  meter_.emplace(metrics_.streams(decision.variant), arrival_);
}

void Account::Count(const v1::GenerateResponse& event, Clock::TimePoint now) {
  if (event.has_started()) {
    taken_.prompt_tokens = event.started().prompt_tokens();
    meter_->Start(event.started().prompt_tokens(), event.started().cached_prompt_tokens(), now);
  } else if (event.has_reasoning_delta()) {
    CountTokens(StreamPhase::kReasoning, event.reasoning_delta().token_ids_size(), now);
  } else if (event.has_reasoning_finished()) {
    const v1::ReasoningFinished& finished = event.reasoning_finished();
    CountTokens(StreamPhase::kReasoning, finished.token_ids_size(), now);
    if (finished.cause() == v1::REASONING_FINISH_CAUSE_MODEL) {
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
  if (answered && finished.reason() != v1::FINISH_REASON_LENGTH) {
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
  metrics_.CountMove(variant_, reason);
}

void Account::End(const absl::Status& status, const std::string& tenant, Clock::TimePoint now) {
  // A request that was refused had no times.
  const bool waited = absl::IsCancelled(status) || absl::IsDeadlineExceeded(status);
  if (meter_ && (meter_->started() || waited)) meter_->End(discarded_tokens_, now);
  const std::string code = absl::StatusCodeToString(status.code());
  metrics_.EndRequest(variant_, code, phase());
  metrics_.CountTenant(tenant, code, counts());
}

void Account::TellTimes(v1::Timings& timings, Clock::TimePoint now) const {
  rpc::SetDuration(meter_->queue_time(now), timings.mutable_queue());
  const std::chrono::duration<double> prompt(meter_->prompt_s());
  rpc::SetDuration(std::chrono::duration_cast<Clock::Duration>(prompt), timings.mutable_prefill());
  const auto answer = meter_->phase_time(StreamPhase::kAnswer);
  if (answer) rpc::SetDuration(*answer, timings.mutable_answer());
}

// A prompt that was not cached shows the worker's rate, if it is long enough to be measured. The
// pace of a stream that has moved is nobody's, and that of one that was held back the router's.
void Account::Learn(const fleet::WorkerLease& lease, fleet::WorkerPool& pool) const {
  constexpr int kMinPromptTokens = 256;
  const int computed = counts().prompt - counts().cached_prompt;
  const bool shows_pace = moves_ == 0 && !was_held_;
  const bool shows_rate = shows_pace && computed >= kMinPromptTokens && meter_->prompt_s() > 0;
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
                  {"worker", worker},
                  {"attempts", attempts},
                  {"moves", moves_},
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
}

}  // namespace thinkwire::router
