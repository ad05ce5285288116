#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "worker/engine/token.h"

namespace thinkwire::worker::engine {

// Ids that stand where none is drawn, of either kind: a request holds them, and the router's
// ledger.
inline constexpr std::int64_t kMaxForcedIds = 1024;
// How far back a sequence looks for what repeats itself (LoopDetector): up to 50 bytes and, each
// time that a token comes, one step a token at most.
inline constexpr std::int32_t kMaxLoopPeriodTokens = 2048;

// What a token's text says of where a sentence ends.
enum class SentencePart : std::uint8_t {
  kInside,
  kDigit,  // its last character is a digit
  kPoint,  // a point and nothing else: an end, unless a digit stands before it ("3." of "3.14")
  kEnd,    // a sentence, a line or a paragraph ends with it
};
using SentenceParts = std::vector<SentencePart>;  // by id; beyond its end: kInside

// When an output goes in circles: it ends with a passage of 1 to max_period_tokens tokens that came
// max_repeats times in a row.
struct LoopLimits {
  std::int32_t max_repeats = 8;          // >= 2
  std::int32_t max_period_tokens = 512;  // [1, kMaxLoopPeriodTokens]
};

// Where something that the ids do not tell closes the reasoning.
struct Closing {
  std::int32_t position = 0;  // ids of the output before it takes effect, >= 0
  TokenOrigin origin = TokenOrigin::kAnswerNow;
  bool operator==(const Closing&) const = default;
};

// Some ids of an output that follow each other.
struct IdRange {
  std::int32_t first = 0;  // index among the output's ids
  std::int32_t count = 0;  // >= 1
  bool Contains(std::int32_t index) const { return index >= first && index - first < count; }
};

// How the thinking of an output is steered, as it was settled when its request began. Together with
// the ids so far it fixes what is drawn and what is forced: OutputPlan.
struct Thinking {
  // The most reasoning ids before the one that closes the reasoning, >= 0.
  std::optional<std::int32_t> budget_tokens;
  std::int32_t min_answer_tokens = 0;  // of max_tokens, kept for the answer, >= 0
  // A think-end id drawn before so many reasoning ids does not stand; >= 0, and only with
  // continue_ids, which then stand in its place.
  std::int32_t min_tokens = 0;
  // The share of the budget, [0, 1], at whose end the first end of a sentence closes the reasoning.
  float landing_share = 0;
  std::shared_ptr<const SentenceParts> sentence_parts = nullptr;  // where landing_share is not 0
  // Before the think-end id, where a limit closes the reasoning and there is room for them.
  std::vector<std::int32_t> closing_ids = {};
  std::vector<std::int32_t> continue_ids = {};
  std::optional<LoopLimits> loops = std::nullopt;

  // Of an output that goes on: where something outside has closed its reasoning, and which ids
  // stand in the place of a think-end id. Ascending.
  std::optional<Closing> closing = std::nullopt;
  std::vector<IdRange> continued = {};
};

}  // namespace thinkwire::worker::engine
