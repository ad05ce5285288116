#include "worker/text/first_phase.h"

namespace thinkwire::worker::text {

FirstPhase FirstPhaseAfter(std::span<const std::int32_t> prompt_ids, const ControlIds& control) {
  if (!control.think_begin || !control.think_end) return FirstPhase::kAnswer;
  for (std::size_t i = prompt_ids.size(); i-- > 0;) {
    const std::int32_t id = prompt_ids[i];
    if (id == control.think_begin) return FirstPhase::kReasoning;
    if (id == control.think_end) return FirstPhase::kAnswer;
    if (id == control.assistant || id == control.tool_outputs_end) return FirstPhase::kUndecided;
    if (id == control.eos || id == control.user) return FirstPhase::kAnswer;
  }
  return FirstPhase::kAnswer;
}

}  // namespace thinkwire::worker::text
