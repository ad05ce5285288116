#include "tests/worker/engine/reference.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace thinkwire::worker::engine {

Output Alone(const FakeModel& model, const Request& request, std::int32_t max_tokens,
             const Forced& forced) {
  Output output;
  std::vector<std::int32_t> ids = request.prompt_ids;
  FakeModel::Counted counted;
  if (request.sampling.counts_prompt()) {
    counted.prompt = {request.prompt_ids.begin(), request.prompt_ids.end()};
  }
  // A prompt that ends with the closing id has done its thinking.
  bool thinking = request.start_phase == step::Phase::kReasoning &&
                  request.prompt_ids.back() != request.sampling.think_end_id;
  bool undecided = request.opening.has_value();
  while (static_cast<std::int32_t>(output.tokens.size()) < max_tokens) {
    const step::Phase phase = thinking ? step::Phase::kReasoning : step::Phase::kAnswer;
    FakeModel::Draw draw =
        model.Next(ids, request.sampling, request.logit_bias[phase], phase, counted);
    const auto other = forced.find(output.tokens.size());
    const bool drawn = other == forced.end();
    if (!drawn) draw = {.id = other->second.id};
    if (draw.not_finite) {
      output.reason = EndReason::kNotFinite;
      return output;
    }
    const bool closes = draw.id == request.sampling.think_end_id && thinking;
    const bool opens = undecided && draw.id == kThink;
    const std::size_t blanks = output.tokens.size();  // if it is undecided
    undecided = undecided && draw.id == kBlank && blanks < static_cast<std::size_t>(kMaxBlanks);
    TokenMark mark = closes ? TokenMark::kClosesReasoning : TokenMark::kText;
    if (opens) mark = TokenMark::kOpensReasoning;
    if (undecided) mark = TokenMark::kUndecided;
    output.tokens.push_back({.id = draw.id,
                             .logprob = request.logprobs ? draw.logprob : 0.0F,
                             .phase = opens ? step::Phase::kReasoning : phase,
                             .mark = mark,
                             .origin = drawn ? TokenOrigin::kDrawn : other->second.origin});
    if (drawn) {
      output.tokens.back().alternatives.assign(draw.alternatives.begin(),
                                               draw.alternatives.begin() + request.alternatives);
    }
    ids.push_back(draw.id);
    if (request.sampling.counts()) ++counted.drawn[draw.id];
    if (closes) {
      thinking = false;
      counted.drawn.clear();
    }
    thinking = thinking || opens;
    if (draw.id == kEos && !request.ignore_eos) {
      output.reason = EndReason::kEndOfSequence;
      output.tokens.back().mark = TokenMark::kEndsOutput;
      return output;
    }
    if (std::ranges::count(request.stop_ids[output.tokens.back().phase], draw.id) > 0) {
      output.reason = EndReason::kStopId;
      output.tokens.back().mark = TokenMark::kEndsOutput;
      return output;
    }
  }
  output.reason = EndReason::kLength;
  return output;
}

Request MakeRequest(std::uint64_t seed, std::int32_t prompt_tokens, std::int32_t max_tokens) {
  Request request;
  request.id = std::to_string(seed);
  for (std::int32_t i = 0; i < prompt_tokens; ++i) {
    request.prompt_ids.push_back(
        static_cast<std::int32_t>((seed * 131 + static_cast<std::uint64_t>(i) * 17) % 900) + 50);
  }
  request.sampling.seed = seed;
  request.sampling.think_end_id = kThinkEnd;
  request.sampling.phases[step::Phase::kAnswer].temperature = 0.3F;
  request.max_tokens = max_tokens;
  return request;
}

Request MakeOpenRequest(std::uint64_t seed, std::int32_t prompt_tokens, std::int32_t max_tokens) {
  Request request = MakeRequest(seed, prompt_tokens, max_tokens);
  request.start_phase = step::Phase::kAnswer;
  std::vector<bool> blanks(kBlank + 1);
  blanks[kBlank] = true;
  request.opening = {.think_begin_id = kThink,
                     .blanks = std::make_shared<const std::vector<bool>>(std::move(blanks))};
  return request;
}

step::Limits MakeLimits(std::int32_t max_in_flight) {
  return {.max_num_seqs = 8,
          .max_num_batched_tokens = 64,
          .max_model_len = 256,
          .block_tokens = 4,
          .num_blocks = 512,
          .max_in_flight = max_in_flight,
          .vocab_size = kVocab,
          .max_draws = 24};
}

void ExpectTokens(const std::vector<Token>& tokens, const Output& expected, bool complete) {
  if (complete) {
    EXPECT_EQ(tokens.size(), expected.tokens.size());
  } else {
    EXPECT_LE(tokens.size(), expected.tokens.size());
  }
  const std::size_t common = std::min(tokens.size(), expected.tokens.size());
  for (std::size_t i = 0; i < common; ++i) {
    ASSERT_EQ(tokens[i].id, expected.tokens[i].id) << "token " << i;
    ASSERT_EQ(tokens[i].phase, expected.tokens[i].phase) << "token " << i;
    ASSERT_EQ(tokens[i].mark, expected.tokens[i].mark) << "token " << i;
    ASSERT_EQ(tokens[i].origin, expected.tokens[i].origin) << "token " << i;
    ASSERT_EQ(tokens[i].logprob, expected.tokens[i].logprob) << "token " << i;
    ASSERT_EQ(tokens[i].alternatives, expected.tokens[i].alternatives) << "token " << i;
  }
}

}  // namespace thinkwire::worker::engine
