#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "worker/engine/answer_plan.h"
#include "worker/engine/loop_detector.h"
#include "worker/engine/request.h"
#include "worker/engine/thinking.h"
#include "worker/engine/thinking_budget.h"
#include "worker/engine/token.h"

namespace thinkwire::worker::engine {

// An id that stands where none is drawn.
struct NextId {
  std::int32_t id = 0;
  TokenOrigin origin = TokenOrigin::kBudget;  // not kDrawn
};

// Says of each next token of an output whether the model draws it or which id stands there instead.
// It hears every id that is committed, and nothing else but what comes from outside (Close): its
// state is a function of the request, the ids and those events with their positions, so that
// whoever replays them, after a preemption or at another worker, goes on as this one would have.
//
//   budget     spent, or landed in: closing_ids, where they fit, and the think-end id
//   Close      the same, from the next token on
//   a loop     the same in the reasoning; in the answer it ends the output
//   unanswered (ends_unanswered) a loop, and what is kept for the answer, end the output there
//   too early  a drawn think-end id before min_tokens is not committed: continue_ids stand there;
//              without any it is not drawn (Masks)
//   a format   in the answer a mask says what may be drawn, and what can be no other is forced
//   an end     of the sequence that is drawn in the reasoning is committed as the think-end id
//   where
//              an answer is owed: a format, or tokens kept for it (not with ends_unanswered)
//
// Ids are forced without asking for end or stop ids, which end the output as they do when drawn.
// While the first phase is the model's to choose nothing is forced; then what has come counts.
// Threads: one at a time. Borrows the request.
class OutputPlan {
 public:
  // Of an output without any ids yet. `max_tokens` as CheckRequest gives it.
  OutputPlan(const Request& request, std::int32_t max_tokens);

  // What stands next; nullopt: what is drawn.
  std::optional<NextId> next() const;

  // Whether `id`, as Taken gives it, does not stand: then call Continue.
  bool Refuses(std::int32_t id) const;
  // Whether the output's id number `index`, as far as is known, is drawn without the think-end id.
  bool Masks(std::int32_t index) const { return masks_ && thinks_ && index < thinking_.min_tokens; }
  void Continue() { continued_ids_ = 0; }

  // The id that is committed where `id` was drawn next, which `ends` the sequence or does not.
  std::int32_t Taken(std::int32_t id, bool ends) const;

  // Whether Mask says what may be drawn next, which only whoever knows all ids before can.
  bool is_masked() const { return answer_ && !thinks_; }
  // Of NumMaskWords(vocab_size) words. REQUIRES: is_masked(), nothing is forced next, and the
  // output has not ended.
  void Mask(std::span<step::MaskWord> mask);
  // Has that mask, or the answer's first one, found by `post` beforehand, unless there is no need.
  void HaveMaskFound(const PostMaskWork& post);
  bool is_finding_mask() const { return is_masked() && answer_->is_finding_mask(); }

  // Whether an id was heard that the answer's format does not have.
  bool breaks_format() const { return breaks_format_; }

  // Who chose the next id, where it is known that it was committed, as request and events say.
  TokenOrigin ReplayOrigin() const;

  // An id was committed; its origin is next()'s, kDrawn, or, where somebody else forces it, any.
  void Hear(const Token& token);

  // The reasoning ends here, if it has not, or as soon as it turns out that there is any. Only the
  // first one counts.
  void Close(TokenOrigin origin);

  // The output goes back to its first `ids`: they are to be heard anew, with ReplayOrigin()'s
  // origin. What came from outside after them counts from there on. REQUIRES: no more than were
  // heard.
  void BeginAgain(std::int32_t ids);

  // Which limit has closed the reasoning, or is about to, and where; nullopt: none.
  const std::optional<Closing>& closing() const { return closed_; }
  // Whether the output is over with the last id, where it goes in circles, or where its reasoning
  // has no more room than what is kept for an answer that is not wanted.
  bool loops() const { return loops_; }
  bool out_of_room() const { return out_of_room_; }
  // The next id belongs to the reasoning, as far as is known, and nothing is about to close it.
  bool thinks_on() const { return thinks_ && !closed_; }

 private:
  void HearAnswer(const Token& token);
  void HearContinued(std::int32_t index);
  void HearLoop(const Token& token);
  void CloseIfDue(std::int32_t before, std::int32_t last);
  void CloseAsSpent();
  void BeginClosing(TokenOrigin origin, bool with_text);
  bool is_closing() const { return closed_ && thinks_; }

  const Request& request_;
  const Thinking& thinking_;
  const std::int32_t think_end_id_;
  const ThinkingBudget budget_;
  std::optional<LoopDetector> loop_;
  std::optional<AnswerPlan> answer_;  // where it has a format
  const bool owes_answer_;            // an end of the sequence in the reasoning only closes that
  const bool is_steered_;             // by more than Close
  const bool masks_;                  // think-end ids that come too early
  const bool thinks_first_;           // its first phase is reasoning

  std::int32_t num_ids_ = 0;  // heard
  std::int32_t last_id_ = -1;
  bool thinks_;                     // the next id belongs to the reasoning, as far as is known
  bool undecided_;                  // it may turn out to
  std::optional<Closing> outside_;  // the first Close
  std::optional<Closing> closed_;
  std::size_t closing_index_ = 0;  // of closing_ids, the next one; their number: think-end
  std::optional<std::size_t> continued_ids_;  // of continue_ids, those that stand already
  std::vector<IdRange> continued_;
  bool loops_ = false;
  bool out_of_room_ = false;
  bool breaks_format_ = false;
};

}  // namespace thinkwire::worker::engine
