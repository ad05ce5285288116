// ResponseStream: what it says while there is nothing to say.
#include "common/steering_limits.h"
#include "worker/serve/response_stream.h"

namespace thinkwire::worker::serve {
namespace {

v1::SilenceReason ReasonOf(engine::SilenceReason reason) {
  switch (reason) {
    case engine::SilenceReason::kPrefill:
      return v1::SILENCE_REASON_PREFILL;
    case engine::SilenceReason::kRecompute:
      return v1::SILENCE_REASON_RECOMPUTE;
    case engine::SilenceReason::kWaiting:
      break;
  }
  return v1::SILENCE_REASON_WAITING;
}

}  // namespace

void ResponseStream::Beat() {
  if (IsSilent(tells_progress_ ? kProgressInterval : shared_.sign_interval)) Schedule();
}

bool ResponseStream::IsSilent(Clock::Duration interval) {
  MutexLock lock(mu_);
  return shared_.clock.Now() - spoke_at_ >= interval;
}

void ResponseStream::EmitQueued(std::int32_t position) {
  queue_position_ = position;
  v1::GenerateResponse event;
  event.mutable_queued()->set_position(position);
  Emit(std::move(event));
}

void ResponseStream::BreakSilence() {
  if (tells_progress_ && IsSilent(kProgressInterval) && EmitProgress()) return;
  if (IsSilent(shared_.sign_interval)) EmitSign();
}

bool ResponseStream::EmitProgress() {
  for (const auto& output : outputs_) {
    const std::optional<engine::Silence> silence = output->silence();
    if (!silence || !meter_.started()) continue;
    v1::GenerateResponse event;
    event.mutable_progress()->set_reason(ReasonOf(silence->reason));
    event.mutable_progress()->set_computed_tokens(silence->computed);
    event.mutable_progress()->set_total_tokens(silence->total);
    Emit(std::move(event));
    return true;
  }
  return false;
}

void ResponseStream::EmitSign() {
  if (meter_.started()) {
    AddMessage();
  } else {
    // The engine may be in a long step and not know of the request yet: then it is the last.
    EmitQueued(queue_position_.value_or(shared_.engine.status().queued));
  }
}

}  // namespace thinkwire::worker::serve
