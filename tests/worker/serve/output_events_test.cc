#include "worker/serve/output_events.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "common/utf8.h"
#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/output_testing.h"

namespace thinkwire::worker::serve {
namespace {

using engine::EndReason;
using engine::Token;
using engine::TokenMark;
using std::chrono::milliseconds;
using step::Phase;

TEST(OutputEventsTest, ReasoningAndAnswerInOrder) {
  const Joined all =
      RunWhole({}, Tokens(Ids("hm") + std::vector{kThinkEnd} + Ids("\n\n42") + std::vector{kEos}));
  EXPECT_EQ(all.order, "rRaF");
  EXPECT_EQ(all.reasoning, "hm");
  EXPECT_EQ(all.reasoning_ids, Ids("hm"));
  EXPECT_EQ(all.closing_ids, std::vector{kThinkEnd});
  EXPECT_EQ(all.reasoning_finished.cause(), v1::REASONING_FINISH_CAUSE_MODEL);
  EXPECT_EQ(all.reasoning_finished.reasoning_tokens(), 3);
  EXPECT_EQ(all.answer, "42");
  EXPECT_EQ(all.answer_ids, Ids("\n\n42"));
  EXPECT_EQ(all.last_ids, std::vector{kEos});
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_END);
  EXPECT_EQ(all.finished.phase(), v1::PHASE_ANSWER);
  EXPECT_EQ(all.finished.tokens().reasoning_tokens(), 3);
  EXPECT_EQ(all.finished.tokens().answer_tokens(), 5);
}

TEST(OutputEventsTest, EmptyThinking) {
  const Joined all = RunWhole({}, Tokens({kThinkEnd, 'x', kEos}));
  EXPECT_EQ(all.order, "RaF");
  EXPECT_EQ(all.reasoning_finished.reasoning_tokens(), 1);
  EXPECT_EQ(all.answer, "x");
}

TEST(OutputEventsTest, NoThinking) {
  OutputEvents::Options options;
  options.start_phase = Phase::kAnswer;
  const Joined all =
      RunWhole(options, Tokens({'\n', 'x', kThinkEnd, kEos}, {.start_phase = Phase::kAnswer}));
  EXPECT_EQ(all.order, "aF");
  EXPECT_EQ(all.answer, "\nx</think>");
  EXPECT_EQ(all.finished.tokens().answer_tokens(), 4);
}

TEST(OutputEventsTest, SecondThinkEndIsAnswerText) {
  const Joined all = RunWhole({}, Tokens({'a', kThinkEnd, 'b', kThinkEnd, kEos}));
  EXPECT_EQ(all.order, "rRaF");
  EXPECT_EQ(all.answer, "b</think>");
  EXPECT_EQ(all.answer_ids, (std::vector{std::int32_t{'b'}, kThinkEnd}));
}

TEST(OutputEventsTest, EndOfSequenceInReasoningCountsThere) {
  const Joined all = RunWhole({}, Tokens({'a', kEos}));
  EXPECT_EQ(all.order, "rRF");
  EXPECT_EQ(all.reasoning_finished.cause(), v1::REASONING_FINISH_CAUSE_END_OF_SEQUENCE);
  EXPECT_TRUE(all.closing_ids.empty());
  EXPECT_EQ(all.last_ids, std::vector{kEos});
  EXPECT_EQ(all.finished.phase(), v1::PHASE_REASONING);
  EXPECT_EQ(all.finished.tokens().reasoning_tokens(), 2);
}

TEST(OutputEventsTest, IgnoredEndOfSequenceIsAnyToken) {
  const Joined all = RunWhole({}, Tokens({'a', kEos, 'b'}, {.ignore_eos = true}));
  EXPECT_EQ(all.order, "rRF");
  EXPECT_EQ(all.reasoning, "ab");
  EXPECT_EQ(all.reasoning_ids, (std::vector<std::int32_t>{'a', kEos, 'b'}));
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(all.reasoning_finished.cause(), v1::REASONING_FINISH_CAUSE_LENGTH);
}

TEST(OutputEventsTest, StopStringEndsAtTheTokenThatCompletesIt) {
  OutputEvents::Options options;
  options.stop_strings[Phase::kAnswer] = {"END", "stop"};
  // " the", "sto" and "p!" as tokens: the stop string lies across the last two.
  const std::vector<std::int32_t> ids = {kThinkEnd, 257, 259, 'p', '!', 'z'};
  OutputEvents output(ByteTokenizer(), options);
  OutputEvents::Events events;
  output.Add(Tokens(ids), {}, &events);
  const Joined all = Join(events);
  EXPECT_TRUE(output.finished());
  EXPECT_EQ(all.order, "RaF");
  EXPECT_EQ(all.answer, " the");
  EXPECT_EQ(all.answer_ids, (std::vector<std::int32_t>{257, 259, 'p'}));
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_STOP_STRING);
  EXPECT_EQ(all.finished.stop_string(), "stop");
  EXPECT_EQ(output.counts().total(), 4);
}

TEST(OutputEventsTest, StopStringsBelongToOnePhase) {
  OutputEvents::Options options;
  options.stop_strings[Phase::kReasoning] = {"x"};
  options.stop_strings[Phase::kAnswer] = {"y", "ab"};
  // "a" ends the reasoning and "b" begins the answer: no stop string lies across the border.
  const Joined all = RunWhole(options, Tokens({'y', 'a', kThinkEnd, 'b', 'x', kEos}));
  EXPECT_EQ(all.reasoning, "ya");
  EXPECT_EQ(all.answer, "bx");
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_END);

  const Joined stopped = RunWhole(options, Tokens({'y', 'x', kThinkEnd, 'b'}));
  EXPECT_EQ(stopped.order, "rRF");
  EXPECT_EQ(stopped.reasoning_finished.cause(), v1::REASONING_FINISH_CAUSE_STOP);
  EXPECT_EQ(stopped.finished.phase(), v1::PHASE_REASONING);
  EXPECT_EQ(stopped.finished.tokens().reasoning_tokens(), 2);
}

TEST(OutputEventsTest, StopIdIsTheLastIdAndHasNoText) {
  Rules rules;
  rules.stop_ids[step::Phase::kAnswer] = {'x', 'y'};
  OutputEvents output(ByteTokenizer(), {});
  OutputEvents::Events events;
  output.Add(Tokens({'y', kThinkEnd, 'a', 'y', 'b'}, rules), {}, &events);
  output.End(EndReason::kStopId, {}, &events);
  const Joined all = Join(events);
  EXPECT_TRUE(output.finished());
  EXPECT_EQ(all.order, "rRaF");
  EXPECT_EQ(all.reasoning, "y");
  EXPECT_EQ(all.answer, "a");
  EXPECT_EQ(all.answer_ids, (std::vector<std::int32_t>{'a', 'y'}));
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_STOP_TOKEN);
  EXPECT_EQ(all.finished.stop_token_id(), 'y');
  EXPECT_EQ(all.finished.tokens().answer_tokens(), 2);
  EXPECT_TRUE(all.last_ids.empty());
}

TEST(OutputEventsTest, StopIdOfTheReasoningLeavesNoAnswerThinkEndIncluded) {
  Rules rules;
  rules.stop_ids[step::Phase::kReasoning] = {kThinkEnd};
  const Joined all = RunWhole({}, Tokens({'a', kThinkEnd}, rules), rules);
  EXPECT_EQ(all.order, "rRF");
  EXPECT_EQ(all.reasoning, "a");
  EXPECT_EQ(all.reasoning_ids, (std::vector<std::int32_t>{'a', kThinkEnd}));
  EXPECT_EQ(all.reasoning_finished.cause(), v1::REASONING_FINISH_CAUSE_STOP);
  EXPECT_TRUE(all.closing_ids.empty());
  EXPECT_EQ(all.finished.phase(), v1::PHASE_REASONING);
  EXPECT_EQ(all.finished.stop_token_id(), kThinkEnd);
}

// Which of the two an id was is the engine's to say.
TEST(OutputEventsTest, EndOfSequenceComesBeforeAStopId) {
  Rules rules;
  rules.stop_ids[step::Phase::kAnswer] = {kEos};
  const std::vector<Token> tokens = Tokens({kThinkEnd, kEos}, rules);
  EXPECT_EQ(RunWhole({}, tokens, rules).finished.reason(), v1::FINISH_REASON_END);
  rules.ignore_eos = true;
  EXPECT_EQ(RunWhole({}, tokens, rules).finished.reason(), v1::FINISH_REASON_STOP_TOKEN);
}

TEST(OutputEventsTest, LineFeedsAfterThinkingAreHiddenFromStopStrings) {
  OutputEvents::Options options;
  options.stop_strings[Phase::kAnswer] = {"\n\n"};
  const Joined all =
      RunWhole(options, Tokens({kThinkEnd, kFirstWord, '\n', 'a', '\n', 'b', kFirstWord, 'c'}));
  EXPECT_EQ(all.answer, "a\nb");
  EXPECT_EQ(all.answer_ids,
            (std::vector<std::int32_t>{kFirstWord, '\n', 'a', '\n', 'b', kFirstWord}));
}

TEST(OutputEventsTest, HeldTextComesWhenItCannotBecomeAStopString) {
  OutputEvents::Options options;
  options.stop_strings[Phase::kReasoning] = {"abc"};
  OutputEvents output(ByteTokenizer(), options);
  OutputEvents::Events events;
  const auto add = [&](std::vector<std::int32_t> ids) {
    events.clear();
    output.Add(Tokens(ids), {}, &events);
    return Join(events);
  };
  Joined step = add({'a'});
  EXPECT_EQ(step.reasoning, "");
  EXPECT_EQ(step.reasoning_ids, Ids("a"));
  step = add({'b'});
  EXPECT_EQ(step.reasoning, "");
  step = add({'x'});
  EXPECT_EQ(step.reasoning, "abx");
  EXPECT_EQ(step.reasoning_ids, Ids("x"));
  add({'a'});
  step = add({kThinkEnd});
  EXPECT_EQ(step.order, "rR");
  EXPECT_EQ(step.reasoning, "a");
  EXPECT_TRUE(step.reasoning_ids.empty());
}

TEST(OutputEventsTest, CharactersAreNeverSplit) {
  OutputEvents output(ByteTokenizer(), {});
  OutputEvents::Events events;
  const std::string text = "\xF0\x9F\x98\x80";
  for (const std::int32_t id : Ids(text)) {
    const std::size_t before = events.size();
    output.Add(Tokens({id}), {}, &events);
    EXPECT_EQ(events.size(), before + 1);
  }
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(events[i].reasoning_delta().text(), "");
  EXPECT_EQ(events[3].reasoning_delta().text(), text);
  // One that the end of the thinking breaks is a replacement character, still reasoning.
  events.clear();
  output.Add(Tokens({0xF0, 0x9F, kThinkEnd, 'a'}), {}, &events);
  const Joined all = Join(events);
  EXPECT_EQ(all.reasoning, "\xEF\xBF\xBD");
  EXPECT_EQ(all.answer, "a");
}

TEST(OutputEventsTest, LogprobsGoWithThePhaseThatAskedForThem) {
  OutputEvents::Options options;
  options.logprobs = {true, false};
  Joined all = RunWhole(options, Tokens({'a', 'b', kThinkEnd, 'c', kEos}));
  EXPECT_EQ(all.logprobs, 2);
  ASSERT_EQ(all.reasoning_finished.logprobs_size(), 1);
  EXPECT_FLOAT_EQ(all.reasoning_finished.logprobs(0).logprob(), -0.266F);
  EXPECT_EQ(all.finished.logprobs_size(), 0);

  options.logprobs = {false, true};
  all = RunWhole(options, Tokens({'a', 'b', kThinkEnd, 'c', kEos}));
  EXPECT_EQ(all.logprobs, 1);
  EXPECT_EQ(all.reasoning_finished.logprobs_size(), 0);
  ASSERT_EQ(all.finished.logprobs_size(), 1);
  EXPECT_FLOAT_EQ(all.finished.logprobs(0).logprob(), -0.262F);
}

TEST(OutputEventsTest, EachPhaseGetsAsManyAlternativesAsItAskedFor) {
  OutputEvents::Options options;
  options.logprobs = {true, true};
  options.alternatives = {2, 1};
  std::vector<Token> tokens = Tokens({'a', kThinkEnd, 'b', kEos});
  for (Token& token : tokens) token.alternatives = {{token.id, -0.5F}, {7, -1.0F}, {8, -1.0F}};
  OutputEvents output(ByteTokenizer(), options);
  OutputEvents::Events events;
  output.Add(tokens, {}, &events);
  output.End(EndReason::kEndOfSequence, {}, &events);
  ASSERT_EQ(events.size(), 4U);
  const v1::TokenLogprob& reasoned = events[0].reasoning_delta().logprobs(0);
  ASSERT_EQ(reasoned.alternatives_size(), 2);
  EXPECT_EQ(reasoned.alternatives(0).token_id(), 'a');
  EXPECT_EQ(reasoned.alternatives(0).logprob(), -0.5F);
  EXPECT_EQ(reasoned.alternatives(1).token_id(), 7);
  EXPECT_EQ(events[1].reasoning_finished().logprobs(0).alternatives_size(), 2);
  EXPECT_EQ(events[2].answer_delta().logprobs(0).alternatives_size(), 1);
  EXPECT_EQ(events[3].finished().logprobs(0).alternatives_size(), 1);
}

TEST(OutputEventsTest, TokensTellTheirBytesAndWhichOfThemAreText) {
  OutputEvents::Options options;
  options.start_phase = Phase::kAnswer;
  options.is_undecided = true;
  options.logprobs = {true, true};
  options.alternatives = {1, 1};
  options.token_bytes = {true, false};
  const Rules rules = {.start_phase = Phase::kAnswer, .is_undecided = true};
  std::vector<Token> tokens =
      Tokens({kFirstWord, kThink, '\n', 0xE4, kBos, 0xBD, kThinkEnd, 'b', kEos}, rules);
  for (Token& token : tokens) token.alternatives = {{kEos, -0.5F}};
  OutputEvents output(ByteTokenizer(), options);
  OutputEvents::Events events;
  output.Add(tokens, {}, &events);
  output.End(EndReason::kEndOfSequence, {}, &events);
  std::vector<std::pair<std::string, int>> told;
  for (const v1::TokenLogprob& token : events[0].reasoning_delta().logprobs()) {
    told.emplace_back(token.token(), token.silent_bytes());
    EXPECT_EQ(token.alternatives(0).token(), ByteTokenizer().TokenBytes(kEos));
  }
  const std::string bos(ByteTokenizer().TokenBytes(kBos));
  const std::vector<std::pair<std::string, int>> expected = {
      {"\n\n", 2}, {"<think>", 7}, {"\n", 1}, {"\xE4", 0}, {bos, std::ssize(bos)}, {"\xBD", 0}};
  EXPECT_EQ(told, expected);
  const v1::TokenLogprob& closing = events[1].reasoning_finished().logprobs(0);
  EXPECT_EQ(closing.token(), "</think>");
  EXPECT_EQ(closing.silent_bytes(), 8);
  EXPECT_EQ(events[2].answer_delta().logprobs(0).token(), "") << "not asked for in this phase";
}

TEST(OutputEventsTest, ReleaseTextGivesWhatWasHeldAndNoEnd) {
  OutputEvents::Options options;
  options.stop_strings[Phase::kReasoning] = {"abc"};
  OutputEvents output(ByteTokenizer(), options);
  OutputEvents::Events events;
  output.Add(Tokens(Ids("ab")), {}, &events);
  output.End(EndReason::kCancelled, {}, &events);
  const Joined all = Join(events);
  EXPECT_EQ(all.order, "r");
  EXPECT_EQ(all.reasoning, "ab");
  EXPECT_FALSE(output.finished());
}

TEST(OutputEventsTest, TimesAreThoseOfTheTokensThatCount) {
  OutputEvents output(ByteTokenizer(), {});
  OutputEvents::Events events;
  const Clock::TimePoint start{};
  output.Add(Tokens({'a'}), start + milliseconds(10), &events);
  output.Add(Tokens({kThinkEnd, 'b'}), start + milliseconds(1510), &events);
  const Rules answer = {.start_phase = Phase::kAnswer};
  output.Add(Tokens({kEos, 'c'}, answer), start + milliseconds(1530), &events);
  output.Add(Tokens({'d'}, answer), start + milliseconds(9999), &events);
  EXPECT_EQ(output.times().first_token, start + milliseconds(10));
  EXPECT_EQ(output.times().last_reasoning_token, start + milliseconds(1510));
  EXPECT_EQ(output.times().last_token, start + milliseconds(1530));
  ASSERT_TRUE(events[1].has_reasoning_finished());
  EXPECT_EQ(events[1].reasoning_finished().duration().seconds(), 1);
  EXPECT_EQ(events[1].reasoning_finished().duration().nanos(), 500'000'000);
}

// What a phase's tokens say they are, as text, up to the stop string that ended it there.
std::string TextOf(const std::string& bytes, const v1::Finished& finished, v1::Phase phase) {
  const std::string text = ReplaceInvalidUtf8(bytes);
  const bool stops =
      finished.reason() == v1::FINISH_REASON_STOP_STRING && finished.phase() == phase;
  return stops ? text.substr(0, text.find(finished.stop_string())) : text;
}

// Whatever the batches, the events joined are the same, as are the counts, and the bytes of the
// tokens are the text.
TEST(OutputEventsTest, AnyBatchesGiveTheSame) {
  std::mt19937 random(20250120);
  const std::vector<std::int32_t> alphabet = {'a', 'b', 's', 't', 'o', 'p',  '\n', 0xE4,      0xBD,
                                              256, 257, 258, 259, 260, 0xA5, 0xBD, kThinkEnd, kEos};
  const auto pick = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  for (int round = 0; round < 3000; ++round) {
    OutputEvents::Options options;
    options.start_phase = round % 5 == 0 ? Phase::kAnswer : Phase::kReasoning;
    options.logprobs = options.token_bytes = {true, true};
    if (round % 3 != 0) options.stop_strings[Phase::kReasoning] = {"stopp", "tab", "\xE4\xBD\xA0"};
    if (round % 3 != 1) options.stop_strings[Phase::kAnswer] = {"bb", "\nstop", "ost"};
    Rules rules = {.start_phase = options.start_phase, .ignore_eos = round % 7 == 0};
    if (round % 11 == 0) rules.stop_ids = {std::vector{kThinkEnd}, {'p', kEos}};
    std::vector<std::int32_t> ids;
    for (std::size_t n = 1 + pick(60); n > 0; --n) ids.push_back(alphabet[pick(alphabet.size())]);
    const std::vector<Token> tokens = Tokens(ids, rules);

    const Joined whole = RunWhole(options, tokens, rules);
    OutputEvents output(ByteTokenizer(), options);
    OutputEvents::Events events;
    for (std::size_t at = 0; at < tokens.size();) {
      const std::size_t n = std::min(1 + pick(4), tokens.size() - at);
      output.Add(std::span(tokens).subspan(at, n), {}, &events);
      at += n;
    }
    output.End(EndingOf(tokens, rules), {}, &events);
    const Joined pieces = Join(events);
    EXPECT_EQ(pieces.order, whole.order);
    EXPECT_EQ(pieces.reasoning, whole.reasoning);
    EXPECT_EQ(pieces.answer, whole.answer);
    EXPECT_EQ(TextOf(pieces.reasoning_bytes, whole.finished, v1::PHASE_REASONING), whole.reasoning);
    EXPECT_EQ(TextOf(pieces.answer_bytes, whole.finished, v1::PHASE_ANSWER), whole.answer);
    EXPECT_EQ(pieces.finished.SerializeAsString(), whole.finished.SerializeAsString());
    EXPECT_EQ(pieces.reasoning_finished.SerializeAsString(),
              whole.reasoning_finished.SerializeAsString());
    const std::vector<std::int32_t> sent =
        pieces.reasoning_ids + pieces.closing_ids + pieces.answer_ids + pieces.last_ids;
    EXPECT_EQ(sent, (whole.reasoning_ids + whole.closing_ids + whole.answer_ids + whole.last_ids));
    // The ids sent are a prefix of those drawn, and usage is their count.
    ASSERT_LE(sent.size(), ids.size());
    EXPECT_TRUE(std::equal(sent.begin(), sent.end(), ids.begin()));
    EXPECT_EQ(output.counts().total(), static_cast<std::int32_t>(sent.size()));
    EXPECT_EQ(
        pieces.finished.tokens().reasoning_tokens() + pieces.finished.tokens().answer_tokens(),
        output.counts().total());
    if (testing::Test::HasFailure()) FAIL() << "round " << round;
  }
}

}  // namespace
}  // namespace thinkwire::worker::serve
