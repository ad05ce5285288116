#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "thinkwire/v1/reasoning.pb.h"
#include "worker/engine/request.h"
#include "worker/engine/token.h"
#include "worker/serve/output_events.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::worker::serve {

const text::Tokenizer& ByteTokenizer();

// What the engine goes by.
struct Rules {
  step::Phase start_phase = step::Phase::kReasoning;
  bool ignore_eos = false;
  bool is_undecided = false;  // with kAnswer
  step::PerPhase<std::vector<std::int32_t>> stop_ids = {};
};

// What the engine would send, logprob -id / 1000, and what a careless one might after the end.
std::vector<engine::Token> Tokens(const std::vector<std::int32_t>& ids, const Rules& rules = {});

// Why the output of `tokens` ended: its length, if no token did that.
engine::EndReason EndingOf(const std::vector<engine::Token>& tokens, const Rules& rules = {});

std::vector<std::int32_t> Ids(std::string_view text);
std::vector<std::int32_t> operator+(std::vector<std::int32_t> a,
                                    const std::vector<std::int32_t>& b);

// The events of one output, joined: what must not depend on how the tokens came.
struct Joined {
  std::string order;  // r R a F: the kinds in order, repeated deltas as one
  std::string reasoning, answer;
  std::vector<std::int32_t> reasoning_ids, closing_ids, answer_ids, last_ids;
  int logprobs = 0;
  std::string reasoning_bytes, answer_bytes;  // of the tokens, but for the silent ones
  v1::ReasoningFinished reasoning_finished;
  v1::Finished finished;
};

Joined Join(const OutputEvents::Events& events);

// All tokens at once, and the ending.
Joined RunWhole(const OutputEvents::Options& options, const std::vector<engine::Token>& tokens,
                const Rules& rules = {});

}  // namespace thinkwire::worker::serve
