#include "worker/engine/ending_rule.h"

#include <algorithm>

namespace thinkwire::worker::engine {
namespace {

bool Holds(std::span<const std::int32_t> ids, std::int32_t id) {
  return std::ranges::find(ids, id) != ids.end();
}

std::optional<EndReason> EndByIdOf(const Request& request,
                                   std::span<const std::int32_t> end_of_sequence_ids,
                                   const Token& token) {
  if (EndsSequence(request, end_of_sequence_ids, token.id)) return EndReason::kEndOfSequence;
  if (Holds(request.stop_ids[token.phase], token.id)) return EndReason::kStopId;
  return std::nullopt;
}

}  // namespace

bool EndsSequence(const Request& request, std::span<const std::int32_t> end_of_sequence_ids,
                  std::int32_t id) {
  return !request.ignore_eos && Holds(end_of_sequence_ids, id);
}

Token NextToken(PhaseMachine& phase, std::int32_t id) {
  const step::Phase before = phase.phase();
  Token token{.id = id, .phase = phase.Next(id)};
  if (token.phase != before) {
    token.mark = TokenMark::kOpensReasoning;
  } else if (phase.phase() != before) {
    token.mark = TokenMark::kClosesReasoning;
  } else if (phase.undecided()) {
    token.mark = TokenMark::kUndecided;
  }
  return token;
}

std::optional<EndReason> EndBy(const Request& request,
                               std::span<const std::int32_t> end_of_sequence_ids, Reached reached,
                               Token& token) {
  const std::optional<EndReason> end = EndByIdOf(request, end_of_sequence_ids, token);
  if (end) {
    token.mark = TokenMark::kEndsOutput;
    return end;
  }
  if (reached.max_tokens) return EndReason::kLength;
  return reached.loop ? std::optional(EndReason::kLoop) : std::nullopt;
}

}  // namespace thinkwire::worker::engine
