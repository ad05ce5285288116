#include "worker/engine/replay.h"

#include "common/check.h"

namespace thinkwire::worker::engine {

Replay::Replay(const Request& request, std::int32_t max_tokens,
               std::span<const std::int32_t> end_of_sequence_ids)
    : request_(request),
      max_tokens_(max_tokens),
      end_of_sequence_ids_(end_of_sequence_ids),
      phase_(StartOf(request)),
      plan_(request, max_tokens) {}

Token Replay::Next(std::int32_t id) {
  CHECK(!end_, "nothing follows the end of an output");
  const std::optional<NextId> next = plan_.next();
  Token token = NextToken(phase_, id);
  token.origin = plan_.ReplayOrigin();
  const bool is_drawn = token.origin == TokenOrigin::kDrawn;
  const bool ends = EndsSequence(request_, end_of_sequence_ids_, id);
  const bool stands = !plan_.Refuses(id) && plan_.Taken(id, ends) == id;
  contradicts_ |= next ? next->id != id : is_drawn && !stands;
  plan_.Hear(token);
  contradicts_ |= plan_.breaks_format();
  const bool is_full = ++count_ >= max_tokens_ || plan_.out_of_room();
  const Reached reached{.max_tokens = is_full, .loop = plan_.loops()};
  end_ = EndBy(request_, end_of_sequence_ids_, reached, token);
  return token;
}

bool LeaveUndecided(const Request& request, std::span<const std::int32_t> ids) {
  PhaseMachine phase = StartOf(request);
  for (const std::int32_t id : ids) {
    if (!phase.undecided()) return false;
    phase.Next(id);
  }
  return phase.undecided();
}

}  // namespace thinkwire::worker::engine
