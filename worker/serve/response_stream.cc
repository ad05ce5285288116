#include "worker/serve/response_stream.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "common/check.h"
#include "common/log.h"
#include "common/rpc/deadline.h"
#include "common/rpc/status_details.h"

namespace thinkwire::worker::serve {
namespace {

// Tokens that wait for the text pool: about a second at 60 tokens a second.
constexpr std::size_t kTokenCapacity = 64;

// What a caller should wait when the queue is full.
constexpr Clock::Duration kRetryAfter = std::chrono::seconds(1);

void SetDuration(Clock::Duration duration, google::protobuf::Duration* out) {
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(duration).count();
  out->set_seconds(nanos / 1'000'000'000);
  out->set_nanos(static_cast<std::int32_t>(nanos % 1'000'000'000));
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
      return rpc::Error(absl::StatusCode::kUnavailable, "SHUTTING_DOWN",
                        "the worker is shutting down");
    case EndReason::kEndOfSequence:
    case EndReason::kStopId:
    case EndReason::kLength:
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

// FINISH_REASON_STOP_STRING as "stop_string".
std::string FinishLabel(v1::FinishReason reason) {
  return absl::AsciiStrToLower(absl::StripPrefix(v1::FinishReason_Name(reason), "FINISH_REASON_"));
}

}  // namespace

void ResponseStream::Refuse(const Shared& shared, const Call& call, const absl::Status& status) {
  const Outcome outcome = OutcomeOfRefusal(status);
  shared.metrics.CountRequest(outcome, StreamPhase::kNone);
  LogInfo("request refused", {{"request_id", call.request_id},
                              {"attempt", call.attempt},
                              {"traceparent", call.traceparent},
                              {"outcome", ToString(outcome)},
                              {"code", absl::StatusCodeToString(status.code())},
                              {"reason", rpc::ErrorReason(status)},
                              {"total_s", ToSeconds(shared.clock.Now() - call.arrival)}});
}

std::shared_ptr<ResponseStream> ResponseStream::Start(const Shared& shared, Call call,
                                                      RequestReader::Reading reading,
                                                      std::shared_ptr<ResponseSink> sink) {
  std::shared_ptr<ResponseStream> stream(
      new ResponseStream(shared, std::move(call), reading, std::move(sink)));
  // Both hold each other until the ending, which the engine always gives.
  stream->tokens_ =
      std::make_shared<engine::TokenStream>(kTokenCapacity, [self = stream] { self->Schedule(); });
  stream->Submit(std::move(reading.request));
  return stream;
}

ResponseStream::ResponseStream(const Shared& shared, Call call, RequestReader::Reading& reading,
                               std::shared_ptr<ResponseSink> sink)
    : Serial(shared.pool),
      shared_(shared),
      call_(std::move(call)),
      max_tokens_(reading.max_tokens),
      deadline_(reading.request.deadline),
      seed_(reading.request.sampling.seed),
      start_phase_(reading.request.start_phase),
      prompt_ids_(reading.request.prompt_ids),
      sink_(std::move(sink)),
      output_(shared.tokenizer, std::move(reading.output)),
      meter_(shared.metrics.streams(), call_.arrival) {}

ResponseStream::~ResponseStream() = default;

void ResponseStream::Submit(engine::Request request) {
  // A copy, as the first tokens may come, and even the last, before Submit returns.
  const auto handle =
      shared_.engine.Submit(std::move(request), std::shared_ptr<engine::TokenStream>(tokens_));
  bool cancelled = false;
  {
    MutexLock lock(mu_);
    if (handle.ok()) {
      handle_ = *handle;
    } else {
      refusal_ = handle.status();
    }
    cancelled = cancelled_;
  }
  if (!handle.ok()) Schedule();
  if (cancelled) CancelInEngine();
}

void ResponseStream::Cancel() {
  {
    MutexLock lock(mu_);
    if (cancelled_) return;
    cancelled_ = true;
  }
  CancelInEngine();
  Schedule();
}

std::optional<engine::RequestHandle> ResponseStream::EngineHandle() {
  MutexLock lock(mu_);
  return handle_;
}

void ResponseStream::CancelInEngine() {
  if (const auto handle = EngineHandle()) shared_.engine.Cancel(*handle);
}

bool ResponseStream::cancelled() {
  MutexLock lock(mu_);
  return cancelled_;
}

void ResponseStream::Run() {
  if (!Send()) return;
  if (tokens_ == nullptr) return;
  if (HandleRefusal()) {
    Send();
    return;
  }
  const engine::TokenStream::Batch batch = tokens_->Take();
  if (batch.empty()) return;
  if (batch.tokens.size() * 2 >= kTokenCapacity) shared_.engine.Wake();
  Handle(batch);
  Send();
}

// Whether the engine did not take the request; then the stream ends.
bool ResponseStream::HandleRefusal() {
  {
    MutexLock lock(mu_);
    if (!refusal_) return false;
    final_status_ = *refusal_;
  }
  if (absl::IsResourceExhausted(*final_status_)) {
    final_status_ =
        rpc::WithRetryAfter(rpc::Error(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                                       std::string(final_status_->message())),
                            kRetryAfter);
  }
  tokens_.reset();
  Refuse(shared_, call_, *final_status_);
  return true;
}

// Writes what is pending, and then the end. False if the sink is full.
bool ResponseStream::Send() {
  if (sink_ == nullptr) return true;
  if (cancelled()) pending_.clear();
  for (; !pending_.empty(); pending_.pop_front()) {
    if (!sink_->Write(pending_.front())) return false;
  }
  if (final_status_) {
    sink_->Finish(*final_status_);
    sink_.reset();
  }
  return true;
}

void ResponseStream::Handle(const engine::TokenStream::Batch& batch) {
  const Clock::TimePoint now = shared_.clock.Now();
  if (batch.queue_position && !batch.started && !meter_.started()) {
    v1::GenerateResponse event;
    event.mutable_queued()->set_position(*batch.queue_position);
    Emit(std::move(event));
  }
  if (batch.started && !meter_.started()) {
    meter_.Start(static_cast<std::int32_t>(prompt_ids_.size()), batch.cached_prompt_tokens, now);
    Emit(MakeStarted());
  }
  if (!batch.tokens.empty()) HandleTokens(batch.tokens, now);
  if (batch.ending) HandleEnding(*batch.ending, now);
}

void ResponseStream::HandleTokens(const std::vector<engine::Token>& tokens, Clock::TimePoint now) {
  OutputEvents::Events events;
  const OutputEvents::Counts before = output_.counts();
  output_.Add(tokens, now, &events);
  const OutputEvents::Counts& after = output_.counts();
  meter_.AddTokens(StreamPhase::kReasoning, after.reasoning_tokens - before.reasoning_tokens, now);
  meter_.AddTokens(StreamPhase::kAnswer, after.answer_tokens - before.answer_tokens, now);
  for (v1::GenerateResponse& event : events) Emit(std::move(event));
  if (output_.finished() && !stop_asked_) {
    stop_asked_ = true;
    if (const auto handle = EngineHandle()) shared_.engine.Finish(*handle);
  }
}

void ResponseStream::HandleEnding(const engine::Ending& ending, Clock::TimePoint now) {
  OutputEvents::Events events;
  engine::EndReason reason = ending.reason;
  output_.End(reason, now, &events);
  for (v1::GenerateResponse& event : events) Emit(std::move(event));
  // gRPC and the engine watch the same deadline: whichever was first, it was the deadline.
  if (reason == engine::EndReason::kCancelled && deadline_ &&
      now + rpc::DeadlineSlack(now - call_.arrival) >= *deadline_) {
    reason = engine::EndReason::kDeadline;
  }
  if (output_.finished()) {
    Emit(MakeCompleted(ending, now));
    final_status_ = absl::OkStatus();
    End(ending, cancelled() ? Outcome::kCancelled : Outcome::kCompleted, now);
  } else {
    final_status_ = StatusOf(reason);
    End(ending, OutcomeOf(reason), now);
  }
}

void ResponseStream::End(const engine::Ending& ending, Outcome outcome, Clock::TimePoint now) {
  tokens_.reset();
  meter_.End(Discarded(ending), now);
  shared_.metrics.CountRequest(outcome, meter_.phase());
  const TokenCounts& counts = meter_.counts();
  LogInfo("request ended", {{"request_id", call_.request_id},
                            {"attempt", call_.attempt},
                            {"traceparent", call_.traceparent},
                            {"outcome", ToString(outcome)},
                            {"phase", ToString(meter_.phase())},
                            {"prompt_tokens", prompt_ids_.size()},
                            {"cached_prompt_tokens", counts.cached_prompt},
                            {"reasoning_tokens", counts.reasoning},
                            {"answer_tokens", counts.answer},
                            {"discarded_tokens", counts.discarded},
                            {"preemptions", ending.preemptions},
                            {"queue_s", ToSeconds(meter_.queue_time(now))},
                            {"total_s", ToSeconds(now - call_.arrival)}});
}

void ResponseStream::Emit(v1::GenerateResponse event) {
  if (event.has_finished()) shared_.metrics.CountFinish(FinishLabel(event.finished().reason()));
  v1::WorkerGenerateResponse& message = pending_.emplace_back();
  message.set_attempt(call_.attempt);
  message.set_seq(next_seq_);
  if (next_seq_ == 0) {
    message.mutable_prompt_ids()->mutable_ids()->Assign(prompt_ids_.begin(), prompt_ids_.end());
  }
  ++next_seq_;
  *message.mutable_event() = std::move(event);
}

v1::GenerateResponse ResponseStream::MakeStarted() const {
  v1::GenerateResponse event;
  v1::Started& started = *event.mutable_started();
  started.set_prompt_tokens(static_cast<std::int32_t>(prompt_ids_.size()));
  started.set_cached_prompt_tokens(meter_.counts().cached_prompt);
  started.set_seed(seed_);
  started.mutable_limits()->set_max_tokens(max_tokens_);
  started.mutable_limits()->set_max_model_len(shared_.model.limits.max_model_len);
  started.set_fingerprint(shared_.model.fingerprint);
  started.set_first_phase(start_phase_ == step::Phase::kReasoning ? v1::PHASE_REASONING
                                                                  : v1::PHASE_ANSWER);
  return event;
}

v1::GenerateResponse ResponseStream::MakeCompleted(const engine::Ending& ending,
                                                   Clock::TimePoint now) const {
  v1::GenerateResponse event;
  v1::Usage& usage = *event.mutable_completed()->mutable_usage();
  usage.set_prompt_tokens(static_cast<std::int32_t>(prompt_ids_.size()));
  usage.set_cached_prompt_tokens(meter_.counts().cached_prompt);
  usage.set_reasoning_tokens(output_.counts().reasoning_tokens);
  usage.set_answer_tokens(output_.counts().answer_tokens);
  usage.set_discarded_tokens(Discarded(ending));

  v1::Timings& timings = *event.mutable_completed()->mutable_timings();
  const OutputEvents::Times& times = output_.times();
  const Clock::TimePoint started = call_.arrival + meter_.queue_time(now);
  const Clock::TimePoint first = times.first_token.value_or(now);
  SetDuration(started - call_.arrival, timings.mutable_queue());
  SetDuration(first - started, timings.mutable_prefill());
  if (times.last_reasoning_token) {
    SetDuration(*times.last_reasoning_token - first, timings.mutable_reasoning());
  }
  if (output_.counts().answer_tokens > 0) {
    SetDuration(*times.last_token - times.last_reasoning_token.value_or(first),
                timings.mutable_answer());
  }
  return event;
}

std::int32_t ResponseStream::Discarded(const engine::Ending& ending) const {
  return ending.generated_tokens - output_.counts().total();
}

}  // namespace thinkwire::worker::serve
