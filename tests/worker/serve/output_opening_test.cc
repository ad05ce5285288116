// OutputEvents: outputs of which the first tokens say whether they begin with reasoning.
#include <gtest/gtest.h>

#include <vector>

#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/output_testing.h"
#include "worker/serve/output_events.h"

namespace thinkwire::worker::serve {
namespace {

using step::Phase;

OutputEvents::Options Undecided() {
  OutputEvents::Options options;
  options.start_phase = Phase::kAnswer;
  options.is_undecided = true;
  return options;
}

Joined Play(const std::vector<std::int32_t>& ids,
            const OutputEvents::Options& options = Undecided(), Rules rules = {}) {
  rules.start_phase = Phase::kAnswer;
  rules.is_undecided = true;
  return RunWhole(options, Tokens(ids, rules), rules);
}

TEST(OutputOpeningTest, TheTagCountsAsReasoningAndIsNoText) {
  const Joined all = Play(std::vector{kThink} + Ids("\nhm") + std::vector{kThinkEnd} +
                          Ids("\n\n42") + std::vector{kEos});
  EXPECT_EQ(all.order, "rRaF");
  EXPECT_EQ(all.reasoning, "hm");
  EXPECT_EQ(all.reasoning_ids, std::vector{kThink} + Ids("\nhm"));
  EXPECT_EQ(all.reasoning_finished.reasoning_tokens(), 5);
  EXPECT_EQ(all.answer, "42");
  EXPECT_EQ(all.finished.tokens().reasoning_tokens(), 5);
  EXPECT_EQ(all.finished.tokens().answer_tokens(), 5);
}

TEST(OutputOpeningTest, WhiteSpaceBeforeTheTagGoesWithIt) {
  OutputEvents::Options options = Undecided();
  options.stop_strings[Phase::kReasoning] = {"\n"};
  options.stop_strings[Phase::kAnswer] = {"\n"};
  const Joined all =
      Play(Ids(" \n") + std::vector{kThink} + Ids("hm") + std::vector{kEos}, options);
  EXPECT_EQ(all.order, "rRF");
  EXPECT_EQ(all.reasoning, "hm");
  EXPECT_EQ(all.reasoning_ids, Ids(" \n") + std::vector{kThink} + Ids("hm"));
  EXPECT_EQ(all.finished.phase(), v1::PHASE_REASONING);
}

TEST(OutputOpeningTest, WithoutTheTagAllOfItIsTheAnswer) {
  const Joined all = Play(Ids(" \nhi") + std::vector{kThink, kThinkEnd, kEos});
  EXPECT_EQ(all.order, "aF");
  EXPECT_EQ(all.answer, " \nhi<think></think>");
  EXPECT_EQ(all.finished.tokens().answer_tokens(), 7);
}

TEST(OutputOpeningTest, NothingIsToldWhileItIsUndecided) {
  OutputEvents output(ByteTokenizer(), Undecided());
  OutputEvents::Events events;
  Rules rules{.start_phase = Phase::kAnswer, .is_undecided = true};
  output.Add(Tokens(Ids("\n\n"), rules), {}, &events);
  EXPECT_TRUE(events.empty());
  EXPECT_EQ(output.counts().total(), 0);
  output.End(engine::EndReason::kLength, {}, &events);
  const Joined all = Join(events);
  EXPECT_EQ(all.order, "aF");
  EXPECT_EQ(all.answer, "\n\n");
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(all.finished.phase(), v1::PHASE_ANSWER);
}

TEST(OutputOpeningTest, AStopStringOfWhiteSpaceEndsTheAnswerOnceItIsOne) {
  OutputEvents::Options options = Undecided();
  options.stop_strings[Phase::kAnswer] = {"\n"};
  const Joined all = Play(Ids(" \nhi") + std::vector{kEos}, options);
  EXPECT_EQ(all.order, "aF");
  EXPECT_EQ(all.answer, " ");
  EXPECT_EQ(all.finished.reason(), v1::FINISH_REASON_STOP_STRING);
  EXPECT_EQ(all.finished.tokens().answer_tokens(), 2);
}

TEST(OutputOpeningTest, TheTagMayBeAStopId) {
  Rules rules;
  rules.stop_ids[Phase::kReasoning] = {kThink};
  const Joined all = Play(Ids("\n") + std::vector{kThink, kEos}, Undecided(), rules);
  EXPECT_EQ(all.order, "rRF");
  EXPECT_EQ(all.reasoning, "");
  EXPECT_EQ(all.reasoning_ids, Ids("\n") + std::vector{kThink});
  EXPECT_EQ(all.finished.stop_token_id(), kThink);
  EXPECT_EQ(all.finished.phase(), v1::PHASE_REASONING);
}

}  // namespace
}  // namespace thinkwire::worker::serve
