#include "router/client/output_order.h"

#include <iterator>
#include <utility>

#include "common/rpc/output_index.h"

namespace thinkwire::router::client {

OutputOrder::Events OutputOrder::Add(const v1::GenerateResponse& event) {
  const std::int32_t output = rpc::OutputIndexOf(event);
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
