#include "worker/serve/response_stream.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/end_level.h"
#include "common/log.h"
#include "common/peer_limits.h"
#include "common/rpc/deadline.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "common/trace_context.h"
#include "worker/serve/started.h"

namespace thinkwire::worker::serve {
namespace {

absl::Status Draining(const std::string& what) {
  return rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kUnavailable, "DRAINING", what));
}

// What a client is told of an output that the engine gave up.
absl::Status StatusOf(engine::EndReason reason) {
  using engine::EndReason;
  switch (reason) {
    case EndReason::kCancelled:
      return absl::CancelledError("the request was cancelled");
    case EndReason::kDeadline:
      return rpc::Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_EXCEEDED",
                        "the deadline has passed");
    case EndReason::kDeadlineTooSoon:
      return rpc::Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_TOO_SOON",
                        "the prompt cannot be computed before the deadline");
    case EndReason::kSlowReader:
      return rpc::Error(absl::StatusCode::kResourceExhausted, "SLOW_CONSUMER",
                        "the stream was not read for too long");
    case EndReason::kNotFinite:
      return rpc::Error(absl::StatusCode::kInternal, "NOT_FINITE",
                        "the model gave values that are not finite");
    case EndReason::kShutdown:
      return Draining("the worker is shutting down: another one may go on");
    case EndReason::kEndOfSequence:
    case EndReason::kStopId:
    case EndReason::kLength:
    case EndReason::kLoop:
    case EndReason::kFinishedByReader:
      break;
  }
  CHECK(false, "a natural end is not an error");
}

Outcome OutcomeOf(engine::EndReason reason) {
  using engine::EndReason;
  switch (reason) {
    case EndReason::kCancelled:
      return Outcome::kCancelled;
    case EndReason::kDeadline:
    case EndReason::kDeadlineTooSoon:
      return Outcome::kDeadline;
    case EndReason::kSlowReader:
      return Outcome::kSlowConsumer;
    case EndReason::kShutdown:
      return Outcome::kShutdown;
    default:
      return Outcome::kInternal;
  }
}

// Of all outputs together: from the first token of any to the last of any.
OutputEvents::Times TimesOf(const std::vector<std::unique_ptr<Output>>& outputs) {
  OutputEvents::Times all;
  for (const auto& output : outputs) {
    const OutputEvents::Times& times = output->times();
    all.earlier_reasoning = std::max(all.earlier_reasoning, times.earlier_reasoning);
    if (!times.first_token) continue;
    all.first_token = std::min(all.first_token.value_or(*times.first_token), *times.first_token);
    all.last_reasoning_token = std::max(all.last_reasoning_token, times.last_reasoning_token);
    all.last_token = std::max(all.last_token, times.last_token);
  }
  return all;
}

OutputEvents::Counts CountsOf(const std::vector<std::unique_ptr<Output>>& outputs) {
  OutputEvents::Counts all;
  for (const auto& output : outputs) {
    for (const step::Phase phase : step::kPhases) {
      all.tokens[phase] += output->counts().tokens[phase];
    }
    all.forced += output->counts().forced;
  }
  return all;
}

// From its place to its end, where whoever asks records a trace.
void LogEngineSpan(const ResponseStream::Call& call, Clock::TimePoint start, absl::StatusCode code,
                   Clock::TimePoint now) {
  const auto trace = ContinueTrace(call.traceparent);
  if (!trace) return;
  LogSpan({.name = "thinkwire.engine",
           .kind = SpanKind::kServer,
           .trace_id = trace->trace_id,
           .span_id = trace->span_id,
           .parent_span_id = trace->parent_id,
           .start = start,
           .end = now},
          absl::StatusCodeToString(code), call.request_id, now, RequestLogRate(call.peer));
}

}  // namespace

void ResponseStream::Refuse(const Shared& shared, const Call& call, const absl::Status& status) {
  const Outcome outcome = OutcomeOfRefusal(status);
  shared.metrics.CountRequest(outcome, StreamPhase::kNone);
  Log(LevelOfEnd(status.code()), "request refused",
      {{"request_id", call.request_id},
       {"attempt", call.attempt},
       {"traceparent", call.traceparent},
       {"outcome", ToString(outcome)},
       {"code", absl::StatusCodeToString(status.code())},
       {"reason", rpc::ErrorReason(status)},
       {"total_s", ToSeconds(shared.clock.Now() - call.arrival)}},
      RequestLogRate(call.peer));
}

std::shared_ptr<ResponseStream> ResponseStream::Start(const Shared& shared, Call call,
                                                      RequestReader::Reading reading,
                                                      std::shared_ptr<ResponseSink> sink,
                                                      rpc::Shares::Held place) {
  std::shared_ptr<ResponseStream> stream(
      new ResponseStream(shared, std::move(call), reading, std::move(sink)));
  stream->place_ = std::move(place);
  auto events = std::move(reading.resumed);
  if (events == nullptr) {
    events = std::make_unique<OutputEvents>(shared.tokenizer, std::move(reading.output));
  }
  // Both hold each other until the ending, which the engine always gives.
  stream->outputs_.push_back(std::make_unique<Output>(shared.engine, std::move(events),
                                                      [self = stream] { self->Schedule(); }));
  stream->Submit(std::move(reading.request));
  return stream;
}

ResponseStream::ResponseStream(const Shared& shared, Call call,
                               const RequestReader::Reading& reading,
                               std::shared_ptr<ResponseSink> sink)
    : Serial(shared.pool),
      shared_(shared),
      call_(std::move(call)),
      deadline_(reading.request.deadline),
      started_(StartedOf(reading, shared.model)),
      num_prompt_ids_(static_cast<std::int32_t>(reading.request.prompt_ids.size())),
      num_resumed_ids_(static_cast<std::int32_t>(reading.request.drawn_ids.size())),
      tells_progress_(reading.request.tells_silence),
      prompt_ids_(reading.request.prompt_ids),
      sink_(std::move(sink)),
      meter_(shared.metrics.streams(), call_.arrival),
      spoke_at_(call_.arrival) {}

ResponseStream::~ResponseStream() = default;

void ResponseStream::Submit(engine::Request request) {
  if (!outputs_.front()->Submit(std::move(request))) Schedule();
}

void ResponseStream::Cancel() {
  {
    MutexLock lock(mu_);
    if (cancelled_) return;
    cancelled_ = true;
  }
  for (const auto& output : outputs_) output->Cancel();
  Schedule();
}

std::int32_t ResponseStream::AnswerNow(std::optional<std::int32_t> index) {
  std::int32_t outputs = 0;
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    if (index && *index != static_cast<std::int32_t>(i)) continue;
    if (outputs_[i]->AnswerNow()) ++outputs;
  }
  return outputs;
}

bool ResponseStream::cancelled() {
  MutexLock lock(mu_);
  return cancelled_;
}

bool ResponseStream::too_slow() const {
  return std::ranges::any_of(outputs_, [](const auto& output) { return output->too_slow(); });
}

void ResponseStream::Run() {
  if (!Send() || final_status_) return;
  const Clock::TimePoint now = shared_.clock.Now();
  bool more = false;
  for (const auto& output : outputs_) {
    if (std::optional<Output::News> news = output->Take(now)) {
      more |= news->more;
      Handle(*output, *std::move(news), now);
    }
    if (failed_ == nullptr && output->ended() && !output->finished()) Fail(*output);
  }
  if (std::ranges::all_of(outputs_, [](const auto& output) { return output->ended(); }))
    Conclude(now);
  if (!final_status_) BreakSilence();
  // Behind the other streams' turns. While the sink is full, Resume comes instead.
  if (Send() && more) Schedule();
}

// Writes what is pending, and then the end. False if the sink is full.
bool ResponseStream::Send() {
  if (sink_ == nullptr) return true;
  if (cancelled() || too_slow()) pending_.clear();
  for (; !pending_.empty(); pending_.pop_front()) {
    if (!sink_->Write(pending_.front())) return false;
  }
  if (final_status_) {
    sink_->Finish(*final_status_);
    sink_.reset();
  }
  return true;
}

void ResponseStream::Handle(const Output& output, Output::News news, Clock::TimePoint now) {
  // The first output's place in the queue is the request's.
  const bool is_first = &output == outputs_.front().get();
  if (news.queue_position && !news.started && !meter_.started() && is_first) {
    EmitQueued(*news.queue_position);
  }
  if (news.started && !meter_.started()) {
    meter_.Start(num_prompt_ids_, news.cached_prompt_tokens, now);
    Emit(MakeStarted());
  }
  meter_.AddTokens(StreamPhase::kReasoning, news.tokens[step::Phase::kReasoning], now);
  meter_.AddTokens(StreamPhase::kAnswer, news.tokens[step::Phase::kAnswer], now);
  for (v1::GenerateResponse& event : news.events) Emit(std::move(event));
}

void ResponseStream::Fail(const Output& failed) {
  failed_ = &failed;
  for (const auto& output : outputs_) {
    if (output.get() != &failed) output->Cancel();
  }
}

void ResponseStream::Conclude(Clock::TimePoint now) {
  place_ = {};
  if (failed_ == nullptr) {
    Complete(now);
  } else if (failed_->refused()) {
    BeRefused(*failed_->refused());
  } else {
    GiveUp(failed_->ending().reason, now);
  }
}

void ResponseStream::Complete(Clock::TimePoint now) {
  Emit(MakeCompleted(now));
  final_status_ = absl::OkStatus();
  End(cancelled() ? Outcome::kCancelled : Outcome::kCompleted, now);
}

void ResponseStream::GiveUp(engine::EndReason reason, Clock::TimePoint now) {
  // gRPC and the engine watch the same deadline: whichever was first, it was the deadline.
  if (reason == engine::EndReason::kCancelled &&
      rpc::EndedByDeadline(deadline_, call_.arrival, now)) {
    reason = engine::EndReason::kDeadline;
  }
  final_status_ = StatusOf(reason);
  End(OutcomeOf(reason), now);
}

void ResponseStream::BeRefused(const absl::Status& status) {
  final_status_ = status;
  if (absl::IsResourceExhausted(status)) {
    final_status_ = rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kResourceExhausted,
                                                   "QUEUE_FULL", std::string(status.message())));
  } else if (absl::IsUnavailable(status)) {
    final_status_ = Draining(std::string(status.message()));
  }
  Refuse(shared_, call_, *final_status_);
}

void ResponseStream::End(Outcome outcome, Clock::TimePoint now) {
  meter_.End(discarded_tokens(), now);
  shared_.metrics.CountRequest(outcome, meter_.phase());
  const TokenCounts& counts = meter_.counts();
  Log(LevelOfEnd(final_status_->code()), "request ended",
      {{"request_id", call_.request_id},
       {"attempt", call_.attempt},
       {"traceparent", call_.traceparent},
       {"outcome", ToString(outcome)},
       {"phase", ToString(meter_.phase())},
       {"prompt_tokens", num_prompt_ids_},
       {"cached_prompt_tokens", counts.cached_prompt},
       {"reasoning_tokens", counts.reasoning},
       {"answer_tokens", counts.answer},
       {"forced_tokens", CountsOf(outputs_).forced},
       {"resumed_tokens", num_resumed_ids_},
       {"discarded_tokens", counts.discarded},
       {"preemptions", preemptions()},
       {"queue_s", ToSeconds(meter_.queue_time(now))},
       {"total_s", ToSeconds(now - call_.arrival)}},
      RequestLogRate(call_.peer));
  if (!meter_.started()) return;
  LogEngineSpan(call_, call_.arrival + meter_.queue_time(now), final_status_->code(), now);
}

void ResponseStream::Emit(v1::GenerateResponse event) {
  Count(event);
  *AddMessage().mutable_event() = std::move(event);
}

v1::WorkerGenerateResponse& ResponseStream::AddMessage() {
  {
    MutexLock lock(mu_);
    spoke_at_ = shared_.clock.Now();
  }
  v1::WorkerGenerateResponse& message = pending_.emplace_back();
  message.set_attempt(call_.attempt);
  message.set_seq(next_seq_);
  if (next_seq_ == 0) {
    message.mutable_prompt_ids()->mutable_ids()->Assign(prompt_ids_.begin(), prompt_ids_.end());
    prompt_ids_ = {};
  }
  ++next_seq_;
  return message;
}

v1::GenerateResponse ResponseStream::MakeStarted() const {
  v1::GenerateResponse event;
  *event.mutable_started() = started_;
  event.mutable_started()->set_cached_prompt_tokens(meter_.counts().cached_prompt);
  return event;
}

v1::GenerateResponse ResponseStream::MakeCompleted(Clock::TimePoint now) const {
  v1::GenerateResponse event;
  v1::Usage& usage = *event.mutable_completed()->mutable_usage();
  usage.set_prompt_tokens(num_prompt_ids_);
  usage.set_cached_prompt_tokens(meter_.counts().cached_prompt);
  const OutputEvents::Counts counts = CountsOf(outputs_);
  usage.set_reasoning_tokens(counts.tokens[step::Phase::kReasoning]);
  usage.set_answer_tokens(counts.tokens[step::Phase::kAnswer]);
  usage.set_forced_tokens(counts.forced);
  usage.set_discarded_tokens(discarded_tokens());

  v1::Timings& timings = *event.mutable_completed()->mutable_timings();
  const OutputEvents::Times times = TimesOf(outputs_);
  const Clock::TimePoint started = call_.arrival + meter_.queue_time(now);
  const Clock::TimePoint first = times.first_token.value_or(now);
  rpc::SetDuration(started - call_.arrival, timings.mutable_queue());
  rpc::SetDuration(first - started, timings.mutable_prefill());
  if (counts.tokens[step::Phase::kReasoning] > 0) {
    const Clock::Duration own = times.last_reasoning_token.value_or(first) - first;
    rpc::SetDuration(times.earlier_reasoning + own, timings.mutable_reasoning());
  }
  if (meter_.counts().answer > 0) {
    rpc::SetDuration(*times.last_token - times.last_reasoning_token.value_or(first),
                     timings.mutable_answer());
  }
  return event;
}

std::int32_t ResponseStream::discarded_tokens() const {
  std::int32_t tokens = 0;
  for (const auto& output : outputs_) tokens += output->discarded_tokens();
  return tokens;
}

std::int32_t ResponseStream::preemptions() const {
  std::int32_t preemptions = 0;
  for (const auto& output : outputs_) preemptions += output->ending().preemptions;
  return preemptions;
}

}  // namespace thinkwire::worker::serve
