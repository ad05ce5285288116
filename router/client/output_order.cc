#include "router/client/output_order.h"

#include <iterator>
#include <utility>

namespace thinkwire::router::client {

std::int32_t OutputOf(const v1::GenerateResponse& event) {
  switch (event.event_case()) {
    case v1::GenerateResponse::kReasoningDelta:
      return event.reasoning_delta().output_index();
    case v1::GenerateResponse::kReasoningFinished:
      return event.reasoning_finished().output_index();
    case v1::GenerateResponse::kAnswerDelta:
      return event.answer_delta().output_index();
    case v1::GenerateResponse::kFinished:
      return event.finished().output_index();
    default:
      return -1;
  }
}

OutputOrder::Events OutputOrder::Add(const v1::GenerateResponse& event) {
  const std::int32_t output = OutputOf(event);
  if (output > turn_) {
    kept_[output].push_back(event);
    return {};
  }
  Events shown{event};
  if (output == turn_ && event.has_finished()) {
    ++turn_;
    TakeTurns(shown);
  }
  return shown;
}

void OutputOrder::TakeTurns(Events& shown) {
  for (auto next = kept_.find(turn_); next != kept_.end(); next = kept_.find(turn_)) {
    Events events = std::move(next->second);
    kept_.erase(next);
    const bool is_over = events.back().has_finished();
    shown.insert(shown.end(), std::make_move_iterator(events.begin()),
                 std::make_move_iterator(events.end()));
    if (!is_over) return;
    ++turn_;
  }
}

OutputOrder::Events OutputOrder::TakeRest() {
  Events rest;
  for (auto& [output, events] : std::exchange(kept_, {})) {
    rest.insert(rest.end(), std::make_move_iterator(events.begin()),
                std::make_move_iterator(events.end()));
  }
  return rest;
}

}  // namespace thinkwire::router::client
