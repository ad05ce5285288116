#include "router/waiting_events.h"

#include <utility>

namespace thinkwire::router {
namespace {

// What `event` has to grow by: its ids, if it is a delta. -1: it is none.
int NumDeltaIds(const v1::GenerateResponse& event) {
  if (event.has_reasoning_delta()) return event.reasoning_delta().token_ids_size();
  return event.has_answer_delta() ? event.answer_delta().token_ids_size() : -1;
}

template <class Delta>
bool AreAlike(const Delta& one, const Delta& other) {
  return one.output_index() == other.output_index() && one.forced() == other.forced();
}

bool MayBeOne(const v1::GenerateResponse& one, const v1::GenerateResponse& other) {
  const bool are_alike = one.has_reasoning_delta() && other.has_reasoning_delta()
                             ? AreAlike(one.reasoning_delta(), other.reasoning_delta())
                             : one.has_answer_delta() && other.has_answer_delta() &&
                                   AreAlike(one.answer_delta(), other.answer_delta());
  return are_alike && NumDeltaIds(one) + NumDeltaIds(other) <= WaitingEvents::kMaxTokens;
}

template <class Delta>
void Append(const Delta& delta, Delta& to) {
  to.mutable_text()->append(delta.text());
  to.mutable_token_ids()->MergeFrom(delta.token_ids());
  to.mutable_logprobs()->MergeFrom(delta.logprobs());
}

}  // namespace

void WaitingEvents::Add(v1::GenerateResponse&& event) {
  const std::size_t bytes = event.ByteSizeLong();
  if (events_.empty() || last_bytes_ + bytes > kMaxBytes || !MayBeOne(events_.back(), event)) {
    events_.push_back(std::move(event));
    last_bytes_ = bytes;
    return;
  }
  if (event.has_reasoning_delta()) {
    Append(event.reasoning_delta(), *events_.back().mutable_reasoning_delta());
  } else {
    Append(event.answer_delta(), *events_.back().mutable_answer_delta());
  }
  last_bytes_ += bytes;
}

bool WaitingEvents::has_room() const {
  if (events_.empty()) return true;
  const int ids = NumDeltaIds(events_.front());
  return events_.size() == 1 && ids >= 0 && ids < kMaxTokens;
}

}  // namespace thinkwire::router
