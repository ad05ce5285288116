#pragma once

#include <cstdint>
#include <vector>

#include "worker/step/per_phase.h"
#include "worker/step/result.h"

namespace thinkwire::worker::engine {

// What a token does to its output. The engine alone judges this; whoever reads tokens goes by the
// mark and compares no ids.
enum class TokenMark : std::uint8_t {
  kText,             // one of the text's
  kUndecided,        // the first of an output, white space: of the phase of the first token that is
                     // not so marked, without text if that opens the reasoning
  kOpensReasoning,   // the model began to think: it has no text
  kClosesReasoning,  // the last of the reasoning: what follows is the answer
  kEndsOutput,  // the last of the output; Ending::reason says whether it was an end-of-sequence
                // id or a stop id
};

// Who chose a token.
enum class TokenOrigin : std::uint8_t {
  kDrawn,      // the model
  kBudget,     // the budget of tokens to think with is spent
  kLoop,       // the reasoning went round in circles
  kAnswerNow,  // someone asked for the answer at once
  kDeadline,   // the time left is needed for the answer
  kContinued,  // it stands in the place of a think-end id that came too early
  kFormat,     // the answer's format lets no other stand there
};

// One token of an output.
struct Token {
  std::int32_t id = 0;
  float logprob = 0;  // 0 unless Request::logprobs; 0 of one that was not drawn
  step::Phase phase = step::Phase::kReasoning;
  TokenMark mark = TokenMark::kText;
  TokenOrigin origin = TokenOrigin::kDrawn;
  // Most probable first, ties lowest id first; none beside one that was not drawn.
  std::vector<step::Alternative> alternatives = {};
};

}  // namespace thinkwire::worker::engine
