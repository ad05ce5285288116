#include "worker/engine/replay.h"

#include "common/check.h"

namespace thinkwire::worker::engine {

Replay::Replay(const Request& request, std::int32_t max_tokens,
               std::span<const std::int32_t> end_of_sequence_ids)
    : request_(request),
      max_tokens_(max_tokens),
      end_of_sequence_ids_(end_of_sequence_ids),
      phase_(StartOf(request)) {}

Token Replay::Next(std::int32_t id) {
  CHECK(!end_, "nothing follows the end of an output");
  Token token = NextToken(phase_, id);
  end_ = EndBy(request_, end_of_sequence_ids_, ++count_ >= max_tokens_, token);
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
