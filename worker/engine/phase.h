#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "worker/step/sampling.h"

namespace thinkwire::worker::engine {

// How much white space, in tokens, may stand before a think-begin id that opens the reasoning: more
// is an answer, lest one that is nothing else be held back for long.
inline constexpr std::int32_t kMaxBlanks = 16;

// What an output whose first phase is the model's choice may begin with.
struct Opening {
  std::int32_t think_begin_id = -1;
  std::shared_ptr<const std::vector<bool>> blanks;  // by id: white space and nothing else

  bool IsBlank(std::int32_t id) const {
    const auto index = static_cast<std::size_t>(id);
    return id >= 0 && blanks != nullptr && index < blanks->size() && (*blanks)[index];
  }
};

// Says to which phase each drawn token belongs. Pure: the same start and the same ids give the same
// phases, so that a recomputed or taken-over sequence continues where it was.
//   no thinking         starts in kAnswer; think-end ids are answer tokens
//   empty thinking      the first id is think-end: it is the only reasoning token
//   truncated thinking  no think-end id came: every token is reasoning
//   second think-end    an answer token
//   undecided           starts in kAnswer with an Opening: its think-begin id is reasoning, and so
//                       are up to kMaxBlanks blanks before it, which pass for kAnswer until then;
//                       any other id makes it an answer for good
class PhaseMachine {
 public:
  // `think_end_id` -1: the vocabulary has none, the start phase never ends.
  // `opening`, null for an output that is decided, is borrowed.
  PhaseMachine(step::Phase start, std::int32_t think_end_id, const Opening* opening = nullptr)
      : phase_(start), think_end_id_(think_end_id), opening_(opening) {}

  // Takes the next drawn id and returns the phase that it belongs to.
  step::Phase Next(std::int32_t id) {
    if (undecided()) Decide(id);
    const step::Phase phase = phase_;
    if (id >= 0 && id == think_end_id_) phase_ = step::Phase::kAnswer;
    return phase;
  }

  // Of the token to be drawn next.
  step::Phase phase() const { return phase_; }

  // Whether the ids so far, all of them blanks, may turn out to be reasoning.
  bool undecided() const { return opening_ != nullptr; }

 private:
  void Decide(std::int32_t id) {
    if (id == opening_->think_begin_id) phase_ = step::Phase::kReasoning;
    if (!opening_->IsBlank(id) || num_blanks_++ == kMaxBlanks) opening_ = nullptr;
  }

  step::Phase phase_;
  std::int32_t think_end_id_;
  const Opening* opening_;  // null once decided
  std::int32_t num_blanks_ = 0;
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
