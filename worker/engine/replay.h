#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "worker/engine/ending_rule.h"
#include "worker/engine/output_plan.h"
#include "worker/engine/phase.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"

namespace thinkwire::worker::engine {

// Says of ids that were drawn elsewhere what the engine said of them when they were: pure, as
// PhaseMachine, OutputPlan and EndBy are. Their log-probabilities are not known any more.
// Threads: one at a time. Borrows the request and the ids of end-of-sequence.
class Replay {
 public:
  // `max_tokens` as CheckRequest gives it.
  Replay(const Request& request, std::int32_t max_tokens,
         std::span<const std::int32_t> end_of_sequence_ids);

  // The next id, with its origin. REQUIRES: the output has not ended.
  Token Next(std::int32_t id);

  // Whether one of the ids is none that the request's plan lets stand where it does.
  bool contradicts() const { return contradicts_; }
  // Which limit has closed the reasoning, or is about to.
  const std::optional<Closing>& closing() const { return plan_.closing(); }

  // Why the output is over with the last id, if it is.
  const std::optional<EndReason>& end() const { return end_; }

 private:
  const Request& request_;
  const std::int32_t max_tokens_;
  const std::span<const std::int32_t> end_of_sequence_ids_;
  PhaseMachine phase_;
  OutputPlan plan_;
  bool contradicts_ = false;
  std::int32_t count_ = 0;
  std::optional<EndReason> end_;
};

// Whether `ids` leave open in which phase the output begins. Whoever has sent them has nevertheless
// said it: as an answer, which they are unless something else follows.
bool LeaveUndecided(const Request& request, std::span<const std::int32_t> ids);

}  // namespace thinkwire::worker::engine
