#include "tests/worker/serve/output_testing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "tests/worker/serve/byte_tokenizer.h"

namespace thinkwire::worker::serve {

using engine::EndReason;
using engine::Token;
using engine::TokenMark;
using step::Phase;

namespace {

EndReason EndBy(std::int32_t id, Phase phase, const Rules& rules) {
  if (id == kEos && !rules.ignore_eos) return EndReason::kEndOfSequence;
  return std::ranges::count(rules.stop_ids[phase], id) > 0 ? EndReason::kStopId
                                                           : EndReason::kLength;
}

void AppendBytes(const v1::TokenLogprob& token, std::string* out) {
  out->append(token.token(), static_cast<std::size_t>(token.silent_bytes()));
}

}  // namespace

const text::Tokenizer& ByteTokenizer() {
  static const std::unique_ptr<text::Tokenizer> tokenizer = MakeByteTokenizer();
  return *tokenizer;
}

std::vector<Token> Tokens(const std::vector<std::int32_t>& ids, const Rules& rules) {
  std::vector<Token> tokens;
  Phase phase = rules.start_phase;
  bool undecided = rules.is_undecided;
  for (const std::int32_t id : ids) {
    const bool opens = undecided && id == kThink;
    if (opens) phase = Phase::kReasoning;
    undecided = undecided && (id == '\n' || id == ' ' || id == kFirstWord);
    Token& token = tokens.emplace_back(
        Token{.id = id, .logprob = -static_cast<float>(id) / 1000, .phase = phase});
    if (EndBy(id, phase, rules) != EndReason::kLength) {
      token.mark = TokenMark::kEndsOutput;
    } else if (opens) {
      token.mark = TokenMark::kOpensReasoning;
    } else if (undecided) {
      token.mark = TokenMark::kUndecided;
    } else if (phase == Phase::kReasoning && id == kThinkEnd) {
      token.mark = TokenMark::kClosesReasoning;
      phase = Phase::kAnswer;
    }
  }
  return tokens;
}

EndReason EndingOf(const std::vector<Token>& tokens, const Rules& rules) {
  const auto last = std::ranges::find(tokens, TokenMark::kEndsOutput, &Token::mark);
  return last == tokens.end() ? EndReason::kLength : EndBy(last->id, last->phase, rules);
}

std::vector<std::int32_t> Ids(std::string_view text) {
  std::vector<std::int32_t> ids;
  for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
  return ids;
}

std::vector<std::int32_t> operator+(std::vector<std::int32_t> a,
                                    const std::vector<std::int32_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Joined Join(const OutputEvents::Events& events) {
  Joined all;
  const auto see = [&](char kind) {
    if (all.order.empty() || all.order.back() != kind) all.order += kind;
  };
  for (const v1::GenerateResponse& event : events) {
    if (event.has_reasoning_delta()) {
      see('r');
      const v1::ReasoningDelta& delta = event.reasoning_delta();
      all.reasoning += delta.text();
      for (const auto& token : delta.logprobs()) AppendBytes(token, &all.reasoning_bytes);
      all.logprobs += delta.logprobs_size();
      all.reasoning_ids.insert(all.reasoning_ids.end(), delta.token_ids().begin(),
                               delta.token_ids().end());
    } else if (event.has_reasoning_finished()) {
      see('R');
      all.reasoning_finished = event.reasoning_finished();
      all.closing_ids.assign(all.reasoning_finished.token_ids().begin(),
                             all.reasoning_finished.token_ids().end());
      all.reasoning_finished.clear_duration();
    } else if (event.has_answer_delta()) {
      see('a');
      const v1::AnswerDelta& delta = event.answer_delta();
      all.answer += delta.text();
      for (const auto& token : delta.logprobs()) AppendBytes(token, &all.answer_bytes);
      all.logprobs += delta.logprobs_size();
      all.answer_ids.insert(all.answer_ids.end(), delta.token_ids().begin(),
                            delta.token_ids().end());
    } else {
      see('F');
      EXPECT_TRUE(event.has_finished());
      all.finished = event.finished();
      all.last_ids.assign(all.finished.token_ids().begin(), all.finished.token_ids().end());
    }
  }
  return all;
}

Joined RunWhole(const OutputEvents::Options& options, const std::vector<Token>& tokens,
                const Rules& rules) {
  OutputEvents output(ByteTokenizer(), options);
  OutputEvents::Events events;
  output.Add(tokens, {}, &events);
  output.End(EndingOf(tokens, rules), {}, &events);
  return Join(events);
}

}  // namespace thinkwire::worker::serve
