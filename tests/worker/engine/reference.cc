#include "tests/worker/engine/reference.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "tests/worker/engine/fake_format.h"

namespace thinkwire::worker::engine {
namespace {

// Whether the last ids of `tokens` that are of `phase` are a passage that came again and again.
bool GoesInCircles(const std::vector<Token>& tokens, step::Phase phase, const LoopLimits& limits) {
  std::vector<std::int32_t> ids;
  for (const Token& token : tokens) {
    if (token.phase == phase) ids.push_back(token.id);
  }
  for (std::size_t period = 1; period <= static_cast<std::size_t>(limits.max_period_tokens);
       ++period) {
    const std::size_t needed =
        std::max<std::size_t>(64, period * static_cast<std::size_t>(limits.max_repeats));
    if (ids.size() < needed) continue;
    bool repeats = true;
    for (std::size_t i = ids.size() - needed + period; i < ids.size(); ++i) {
      repeats = repeats && ids[i] == ids[i - period];
    }
    if (repeats) return true;
  }
  return false;
}

// What stands next in reasoning that has come so far and is not being closed yet; empty: a draw.
std::deque<ForcedToken> ClosingAfter(const Request& request, std::int32_t max_tokens,
                                     const std::vector<Token>& tokens) {
  const Thinking& thinking = request.thinking;
  const auto size = static_cast<std::int32_t>(tokens.size());
  const auto text = static_cast<std::int32_t>(thinking.closing_ids.size());
  std::int32_t limit = std::max(0, max_tokens - 1 - thinking.min_answer_tokens);
  const bool is_limited = thinking.budget_tokens || thinking.min_answer_tokens > 0;
  if (thinking.budget_tokens) limit = std::min(limit, *thinking.budget_tokens);
  const auto close = [&](TokenOrigin origin, bool with_text) {
    std::deque<ForcedToken> ids;
    if (with_text && size + text <= limit) {
      for (const std::int32_t id : thinking.closing_ids) ids.push_back({id, origin});
    }
    ids.push_back({request.sampling.think_end_id, origin});
    return ids;
  };
  if (thinking.loops && GoesInCircles(tokens, step::Phase::kReasoning, *thinking.loops)) {
    return close(TokenOrigin::kLoop, true);
  }
  if (is_limited && (size >= limit || (text <= limit && size >= limit - text))) {
    return close(TokenOrigin::kBudget, true);
  }
  const auto landing =
      static_cast<std::int32_t>(std::floor(thinking.landing_share * static_cast<float>(limit)));
  if (is_limited && landing > 0 && size > 0 && size >= limit - landing) {
    const std::int32_t last = tokens.back().id;
    const std::int32_t before = size > 1 ? tokens[tokens.size() - 2].id : -1;
    const bool after_digit = before >= 0 && before % 13 == 0 && before % 7 != 0;
    if (last % 7 == 0 || (last % 11 == 0 && last % 13 != 0 && !after_digit)) {
      return close(TokenOrigin::kBudget, false);
    }
  }
  if (thinking.closing && size >= thinking.closing->position) {
    return close(thinking.closing->origin, true);
  }
  return {};
}

}  // namespace

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
  std::deque<ForcedToken> pending;
  bool closing = false;
  const auto* const format = static_cast<const FakeFormat*>(request.format.get());
  const bool keeps = request.thinking.min_answer_tokens > 0 && !request.thinking.ends_unanswered;
  const bool owes_answer = (format != nullptr || keeps) && !request.ignore_eos;
  std::vector<std::int32_t> answer;  // ids
  while (static_cast<std::int32_t>(output.tokens.size()) < max_tokens) {
    if (thinking && !closing) {
      std::deque<ForcedToken> ids = ClosingAfter(request, max_tokens, output.tokens);
      closing = !ids.empty();
      if (closing) pending = std::move(ids);
    }
    const step::Phase phase = thinking ? step::Phase::kReasoning : step::Phase::kAnswer;
    const step::Phase drawn_as = undecided ? step::Phase::kReasoning : phase;
    FakeModel::Draw draw =
        model.Next(ids, request.sampling, request.logit_bias[drawn_as], drawn_as, counted);
    if (format != nullptr && !thinking) {
      const auto id = undecided ? std::nullopt : format->ForcedAfter(answer);
      if (id) pending = {{*id, TokenOrigin::kFormat}};
      const auto allows = [&](std::int32_t id) {
        return format->Allows(answer, id) || (undecided && id == kThink);
      };
      while (!allows(draw.id)) draw.id = (draw.id + 1) % kVocab;
    } else if (thinking && owes_answer && draw.id == kEos) {
      draw.id = request.sampling.think_end_id;
    }
    const auto other = forced.find(output.tokens.size());
    const bool is_pending = other == forced.end() && !pending.empty();
    const ForcedToken next = is_pending ? pending.front() : ForcedToken{};
    const bool drawn = other == forced.end() && !is_pending;
    if (!drawn) draw = {.id = is_pending ? next.id : other->second.id};
    if (is_pending) pending.pop_front();
    if (draw.not_finite) {
      output.reason = EndReason::kNotFinite;
      return output;
    }
    if (drawn && thinking && draw.id == request.sampling.think_end_id &&
        std::ssize(output.tokens) < request.thinking.min_tokens &&
        !request.thinking.continue_ids.empty()) {
      for (const std::int32_t id : request.thinking.continue_ids) {
        pending.push_back({id, TokenOrigin::kContinued});
      }
      continue;
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
                             .origin = drawn        ? TokenOrigin::kDrawn
                                       : is_pending ? next.origin
                                                    : other->second.origin});
    if (drawn) {
      output.tokens.back().alternatives.assign(draw.alternatives.begin(),
                                               draw.alternatives.begin() + request.alternatives);
    }
    ids.push_back(draw.id);
    if (request.sampling.counts()) ++counted.drawn[draw.id];
    if (!thinking) answer.push_back(draw.id);
    if (opens) answer.clear();
    if (closes) {
      thinking = false;
      counted.drawn.clear();
      pending.clear();
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
    if (!thinking && request.thinking.loops &&
        static_cast<std::int32_t>(output.tokens.size()) < max_tokens &&
        GoesInCircles(output.tokens, step::Phase::kAnswer, *request.thinking.loops)) {
      output.reason = EndReason::kLoop;
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

std::vector<Request> OutputsOf(const Request& request, std::uint32_t count) {
  std::vector<Request> outputs(count, request);
  for (std::uint32_t i = 0; i < count; ++i) outputs[i].sampling.output_index = i;
  return outputs;
}

Thinking MakeThinking() {
  SentenceParts parts(kVocab, SentencePart::kInside);
  for (std::size_t id = 0; id < parts.size(); ++id) {
    if (id % 13 == 0) parts[id] = SentencePart::kDigit;
    if (id % 11 == 0 && id % 13 != 0) parts[id] = SentencePart::kPoint;
    if (id % 7 == 0) parts[id] = SentencePart::kEnd;
  }
  Thinking thinking;
  thinking.sentence_parts = std::make_shared<const SentenceParts>(std::move(parts));
  thinking.closing_ids = {20, 22, 25};
  thinking.continue_ids = {23, 24};
  return thinking;
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
