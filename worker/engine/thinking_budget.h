#pragma once

#include <cstdint>

#include "worker/engine/thinking.h"

namespace thinkwire::worker::engine {

// How long one output may think: its budget or what min_answer_tokens leaves of max_tokens,
// whichever is less, in ids before the one that closes the reasoning. Pure.
// Threads: any. Borrows the Thinking.
class ThinkingBudget {
 public:
  ThinkingBudget(const Thinking& thinking, std::int32_t max_tokens);

  // Whether the reasoning, `tokens` ids long, the last two being `before` and `last` (-1: there is
  // none), is to be closed now: so late that the closing ids just fit, or by landing.
  bool IsSpent(std::int32_t tokens) const { return is_limited_ && tokens >= spent_at_; }
  bool Lands(std::int32_t tokens, std::int32_t before, std::int32_t last) const;

  // Whether what is kept for the answer is the limit, and not the budget.
  bool is_reserve() const { return is_reserve_; }

  // Whether the closing ids fit after `tokens` of reasoning. Without a limit that is max_tokens,
  // and one token of answer.
  bool HasRoomToClose(std::int32_t tokens) const;

 private:
  SentencePart PartOf(std::int32_t id) const;

  const Thinking& thinking_;
  const bool is_limited_;
  const std::int32_t limit_;  // the most ids
  const bool is_reserve_;
  const std::int32_t spent_at_;
  const std::int32_t lands_from_;
};

}  // namespace thinkwire::worker::engine
