#include "worker/engine/thinking_budget.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace thinkwire::worker::engine {
namespace {

std::int32_t LimitOf(const Thinking& thinking, std::int32_t max_tokens) {
  const std::int32_t left = std::max(0, max_tokens - 1 - thinking.min_answer_tokens);
  return std::min(left, thinking.budget_tokens.value_or(left));
}

std::int32_t NumClosingIds(const Thinking& thinking) {
  return static_cast<std::int32_t>(thinking.closing_ids.size());
}

}  // namespace

ThinkingBudget::ThinkingBudget(const Thinking& thinking, std::int32_t max_tokens)
    : thinking_(thinking),
      is_limited_(thinking.budget_tokens.has_value() || thinking.min_answer_tokens > 0),
      limit_(LimitOf(thinking, max_tokens)),
      is_reserve_(limit_ < thinking.budget_tokens.value_or(limit_ + 1)),
      spent_at_(HasRoomToClose(0) ? limit_ - NumClosingIds(thinking) : limit_),
      lands_from_(limit_ - static_cast<std::int32_t>(
                               std::floor(thinking.landing_share * static_cast<float>(limit_)))) {}

bool ThinkingBudget::HasRoomToClose(std::int32_t tokens) const {
  return tokens + NumClosingIds(thinking_) <= limit_;
}

bool ThinkingBudget::Lands(std::int32_t tokens, std::int32_t before, std::int32_t last) const {
  if (!is_limited_ || thinking_.landing_share == 0 || tokens < lands_from_) return false;
  const SentencePart part = PartOf(last);
  return part == SentencePart::kEnd ||
         (part == SentencePart::kPoint && PartOf(before) != SentencePart::kDigit);
}

SentencePart ThinkingBudget::PartOf(std::int32_t id) const {
  const SentenceParts& parts = *thinking_.sentence_parts;
  const auto index = static_cast<std::size_t>(id);
  return id >= 0 && index < parts.size() ? parts[index] : SentencePart::kInside;
}

}  // namespace thinkwire::worker::engine
