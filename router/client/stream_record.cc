#include "router/client/stream_record.h"

#include <string>
#include <utility>

#include "common/clock.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router::client {

std::optional<v1::GenerateResponse> StreamRecord::Add(const v1::GenerateResponse& event) {
  const bool had_started = ledger_.started();
  if (had_started && event.has_queued()) return std::nullopt;
  v1::WorkerGenerateResponse message;
  *message.mutable_event() = event;
  ledger_.Add(message, Clock::Real().Now());
  if (event.has_moved()) worker_ = event.moved().worker();
  if (event.has_restarted()) Restart(event.restarted());
  if (!event.has_started()) return event;
  if (had_started) return MakeMoved(event.started());
  started_ = event.started();
  worker_ = started_.worker();
  return event;
}

// What another router is to be asked for is the new run.
void StreamRecord::Restart(const v1::Restarted& restarted) {
  worker_ = restarted.worker();
  started_.set_variant(restarted.variant());
  *started_.mutable_limits() = restarted.limits();
}

v1::GenerateResponse StreamRecord::MakeMoved(const v1::Started& started) {
  v1::GenerateResponse event;
  v1::Moved& moved = *event.mutable_moved();
  moved.set_worker(started.worker());
  moved.set_previous_worker(std::exchange(worker_, started.worker()));
  moved.set_reason("the router was lost");
  moved.set_exact(ledger_.exact());
  return event;
}

v1::GenerateRequest StreamRecord::NextRequest() const {
  v1::GenerateRequest request = request_;
  if (!ledger_.started()) return request;
  request.set_variant(started_.variant());
  if (!request.wishes().may_substitute()) request.clear_wishes();
  request.set_seed(started_.seed());
  request.set_max_tokens(started_.limits().max_tokens());
  request.clear_clamp_max_tokens();
  if (!request.has_consensus()) *request.mutable_resume() = ledger_.MakeResumeState();
  return request;
}

}  // namespace thinkwire::router::client
