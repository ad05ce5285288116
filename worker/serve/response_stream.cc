#include "worker/serve/response_stream.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/end_level.h"
#include "common/log.h"
#include "common/peer_limits.h"
#include "common/rpc/deadline.h"
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

// That output, new or as an earlier worker had it.
RequestReader::Begun TakeOutput(const text::Tokenizer& tokenizer, std::int32_t index,
                                RequestReader::Reading& reading) {
  const auto begun = reading.begun.find(index);
  RequestReader::Begun output{.request = reading.request, .events = nullptr};
  if (begun == reading.begun.end()) {
    OutputEvents::Options options = reading.output;
    options.output_index = index;
    output.events = std::make_unique<OutputEvents>(tokenizer, std::move(options));
  } else {
    output = std::move(begun->second);
    output.request.id = reading.request.id;
    output.request.peer = reading.request.peer;
    output.request.deadline = reading.request.deadline;
  }
  output.request.sampling.output_index = static_cast<std::uint32_t>(index);
  return output;
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

std::shared_ptr<ResponseStream> ResponseStream::Make(const Shared& shared, Call call,
                                                     RequestReader::Reading reading,
                                                     std::shared_ptr<ResponseSink> sink,
                                                     rpc::Shares::Held place) {
  std::shared_ptr<ResponseStream> stream(
      new ResponseStream(shared, std::move(call), reading, std::move(sink)));
  stream->place_ = std::move(place);
  for (std::int32_t i = 0; i < reading.num_outputs; ++i) {
    RequestReader::Begun output = TakeOutput(shared.tokenizer, i, reading);
    stream->requests_.push_back(std::move(output.request));
    // Both hold each other until the ending, which the engine always gives.
    stream->outputs_.push_back(std::make_unique<Output>(shared.engine, std::move(output.events),
                                                        [self = stream] { self->Schedule(); }));
  }
  const auto running = std::ranges::find_if_not(stream->outputs_, &Output::was_over);
  stream->first_ =
      running == stream->outputs_.end() ? stream->outputs_.front().get() : running->get();
  return stream;
}

void ResponseStream::Begin() {
  if (!Output::Submit(outputs_, std::exchange(requests_, {}))) Schedule();
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
      num_resumed_ids_(reading.num_resumed_ids()),
      tells_progress_(reading.request.tells_silence),
      prompt_ids_(reading.request.prompt_ids),
      sink_(std::move(sink)),
      meter_(shared.metrics.streams(), call_.arrival),
      spoke_at_(call_.arrival) {}

ResponseStream::~ResponseStream() = default;

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
  bool has_room = true;
  for (std::size_t turns = 0; turns < outputs_.size() && has_room; ++turns) {
    Output& output = *outputs_[next_];
    next_ = (next_ + 1) % outputs_.size();
    more |= TakeFrom(output, now);
    has_room = WritePending();
  }
  if (std::ranges::all_of(outputs_, [this](const auto& output) { return IsDone(*output); })) {
    Conclude(now);
  }
  if (!final_status_) BreakSilence();
  // Behind the other streams' turns. While the sink is full, Resume comes instead.
  if (Send() && (more || !has_room)) Schedule();
}

bool ResponseStream::TakeFrom(Output& output, Clock::TimePoint now) {
  if (WaitsForStart(output)) return false;
  const bool had_started = meter_.started();
  bool more = false;
  if (std::optional<Output::News> news = output.Take(now)) {
    more = news->more;
    Handle(output, *std::move(news), now);
  }
  if (failed_ == nullptr && output.ended() && !output.finished()) Fail(output);
  // The others may have waited for this.
  return more || (meter_.started() && !had_started && outputs_.size() > 1);
}

bool ResponseStream::WaitsForStart(const Output& output) const {
  return !meter_.started() && &output != first_ && failed_ == nullptr;
}

bool ResponseStream::IsDone(const Output& output) const {
  return output.ended() || (failed_ != nullptr && output.was_over());
}

// Writes what is pending, and then the end. False if the sink is full.
bool ResponseStream::Send() {
  if (sink_ == nullptr) return true;
  if (cancelled() || too_slow()) pending_.clear();
  if (!WritePending()) return false;
  if (final_status_) {
    sink_->Finish(*final_status_);
    sink_.reset();
  }
  return true;
}

bool ResponseStream::WritePending() {
  for (; !pending_.empty(); pending_.pop_front()) {
    if (!sink_->Write(pending_.front())) return false;
  }
  return true;
}

void ResponseStream::Handle(const Output& output, Output::News news, Clock::TimePoint now) {
  // What the first output is told of queue and prompt holds for the request.
  const bool is_first = &output == first_;
  if (news.queue_position && !news.started && !meter_.started() && is_first) {
    EmitQueued(*news.queue_position);
  }
  if (news.started && !meter_.started() && is_first) {
    meter_.Start(num_prompt_ids_, news.cached_prompt_tokens, now);
    Emit(MakeStarted());
  }
  if (!meter_.started()) return;  // it failed before
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
       {"forced_tokens", counts_of_all().forced},
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

}  // namespace thinkwire::worker::serve
