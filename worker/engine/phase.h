#pragma once

#include <cstdint>
#include <span>

#include "worker/step/sampling.h"

namespace thinkwire::worker::engine {

// Says to which phase each drawn token belongs. Pure: the same start and the same ids give the same
// phases, so that a recomputed or taken-over sequence continues where it was.
//   no thinking         starts in kAnswer; think-end ids are answer tokens
//   empty thinking      the first id is think-end: it is the only reasoning token
//   truncated thinking  no think-end id came: every token is reasoning
//   second think-end    an answer token
class PhaseMachine {
 public:
  // `think_end_id` -1: the vocabulary has none, the start phase never ends.
  constexpr PhaseMachine(step::Phase start, std::int32_t think_end_id)
      : phase_(start), think_end_id_(think_end_id) {}

  // Takes the next drawn id and returns the phase that it belongs to.
  constexpr step::Phase Next(std::int32_t id) {
    const step::Phase phase = phase_;
    if (id >= 0 && id == think_end_id_) phase_ = step::Phase::kAnswer;
    return phase;
  }

  // Of the token to be drawn next.
  constexpr step::Phase phase() const { return phase_; }

 private:
  step::Phase phase_;
  std::int32_t think_end_id_;
};

// The phase of the first drawn token. A prompt that ends with the think-end id has done its
// thinking, whatever `asked` says: the runner, which sees only that id, draws the answer too.
constexpr step::Phase StartPhase(step::Phase asked, std::span<const std::int32_t> prompt_ids,
                                 std::int32_t think_end_id) {
  const bool thought =
      think_end_id >= 0 && !prompt_ids.empty() && prompt_ids.back() == think_end_id;
  return thought ? step::Phase::kAnswer : asked;
}

}  // namespace thinkwire::worker::engine
