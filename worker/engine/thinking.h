#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/steering_limits.h"
#include "worker/engine/token.h"

namespace thinkwire::worker::engine {

// What a token's text says of where a sentence ends.
enum class SentencePart : std::uint8_t {
  kInside,
  kDigit,  // its last character is a digit
  kPoint,  // a point and nothing else: an end, unless a digit stands before it ("3." of "3.14")
  kEnd,    // a sentence, a line or a paragraph ends with it
};
using SentenceParts = std::vector<SentencePart>;  // by id; beyond its end: kInside

// When an output goes in circles: it ends with a passage of 1 to max_period_tokens tokens that came
// max_repeats times in a row, or says too much of what it has said before (NearRepetition).
struct LoopLimits {
  std::int32_t max_repeats = 8;          // [2, kMaxLoopRepeats]
  std::int32_t max_period_tokens = 512;  // [1, kMaxLoopPeriodTokens]
  std::optional<float> near_share = {};  // (0, 1]
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
  // A think-end id drawn before so many reasoning ids does not stand, >= 0: continue_ids stand in
  // its place, or, where there are none, it is not drawn.
  std::int32_t min_tokens = 0;
  // The share of the budget, [0, 1], at whose end the first end of a sentence closes the reasoning.
  float landing_share = 0;
  std::shared_ptr<const SentenceParts> sentence_parts = nullptr;  // where landing_share is not 0
  // Before the think-end id, where a limit closes the reasoning and there is room for them.
  std::vector<std::int32_t> closing_ids = {};
  std::vector<std::int32_t> continue_ids = {};
  std::optional<LoopLimits> loops = std::nullopt;
  // Where a loop or the tokens kept for the answer would close the reasoning, the output ends.
  bool ends_unanswered = false;
  // The reasoning ends so that there is time for an answer before Request::deadline, of
  // answer_in_time tokens. Unset: DefaultReserve of all tokens that there is time for.
  bool ends_in_time = false;
  std::optional<std::int32_t> answer_in_time = std::nullopt;

  // Of an output that goes on: where something outside has closed its reasoning, and which ids
  // stand in the place of a think-end id. Ascending.
  std::optional<Closing> closing = std::nullopt;
  std::vector<IdRange> continued = {};
};

// How many of `max_tokens` are kept for an answer where nothing says it: an answer's length grows
// with the question's, and a small limit is not taken up by it.
constexpr std::int32_t DefaultReserve(std::int32_t max_tokens) {
  constexpr std::int32_t kLeast = 64;
  constexpr std::int32_t kMost = 4096;
  return std::min(max_tokens / 2, std::clamp(max_tokens / 4, kLeast, kMost));
}

}  // namespace thinkwire::worker::engine
