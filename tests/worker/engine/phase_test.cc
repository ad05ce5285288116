#include "worker/engine/phase.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace thinkwire::worker::engine {
namespace {

constexpr std::int32_t kEnd = 7;
constexpr step::Phase R = step::Phase::kReasoning;
constexpr step::Phase A = step::Phase::kAnswer;

std::vector<step::Phase> Phases(PhaseMachine machine, const std::vector<std::int32_t>& ids) {
  std::vector<step::Phase> phases;
  phases.reserve(ids.size());
  for (const std::int32_t id : ids) phases.push_back(machine.Next(id));
  return phases;
}

TEST(PhaseMachine, ThinkEndIsTheLastReasoningToken) {
  EXPECT_EQ(Phases({R, kEnd}, {1, 2, kEnd, 3, 4}), (std::vector{R, R, R, A, A}));
}

TEST(PhaseMachine, OnlyTheFirstThinkEndEndsThinking) {
  EXPECT_EQ(Phases({R, kEnd}, {1, kEnd, kEnd, 2, kEnd}), (std::vector{R, R, A, A, A}));
}

TEST(PhaseMachine, EmptyThinkingIsOneToken) {
  EXPECT_EQ(Phases({R, kEnd}, {kEnd, 1}), (std::vector{R, A}));
}

TEST(PhaseMachine, WithoutThinkingThinkEndIsAnAnswerToken) {
  EXPECT_EQ(Phases({A, kEnd}, {1, kEnd, 2}), (std::vector{A, A, A}));
}

TEST(PhaseMachine, TruncatedThinkingStaysReasoning) {
  EXPECT_EQ(Phases({R, kEnd}, {1, 2, 3}), (std::vector{R, R, R}));
}

TEST(PhaseMachine, VocabularyWithoutThinkEndNeverLeaves) {
  PhaseMachine machine(R, -1);
  machine.Next(-1);
  EXPECT_EQ(machine.phase(), R);
}

// kBegin opens the reasoning, 0 is white space.
constexpr std::int32_t kBegin = 6;
Opening MakeOpening() {
  return {.think_begin_id = kBegin,
          .blanks = std::make_shared<const std::vector<bool>>(std::vector{true, false, false})};
}

TEST(PhaseMachine, TheModelMayOpenTheReasoningItself) {
  const Opening opening = MakeOpening();
  EXPECT_EQ(Phases({A, kEnd, &opening}, {kBegin, 1, kEnd, 2}), (std::vector{R, R, R, A}));
  EXPECT_EQ(Phases({A, kEnd, &opening}, {0, 0, kBegin, 1}), (std::vector{A, A, R, R}));
}

TEST(PhaseMachine, AnyOtherFirstIdIsTheAnswerForGood) {
  const Opening opening = MakeOpening();
  for (const std::int32_t first : {1, 5, kEnd, -1, 100}) {
    EXPECT_EQ(Phases({A, kEnd, &opening}, {0, first, kBegin, 1}), (std::vector{A, A, A, A}));
  }
}

TEST(PhaseMachine, IsUndecidedWhileNothingButBlanksCame) {
  const Opening opening = MakeOpening();
  PhaseMachine machine(A, kEnd, &opening);
  for (std::int32_t i = 0; i < kMaxBlanks; ++i) {
    EXPECT_TRUE(machine.undecided());
    machine.Next(0);
  }
  EXPECT_TRUE(machine.undecided());
  PhaseMachine one_more = machine;
  EXPECT_EQ(one_more.Next(0), A);
  EXPECT_FALSE(one_more.undecided());
  EXPECT_EQ(machine.Next(kBegin), R);
  EXPECT_FALSE(machine.undecided());
  EXPECT_FALSE(PhaseMachine(A, kEnd).undecided());
}

TEST(PhaseMachine, AnyChunkingGivesTheSamePhases) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    std::vector<std::int32_t> ids(random() % 30);
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % 10);
    const step::Phase start = random() % 4 == 0 ? A : R;
    const std::vector<step::Phase> whole = Phases({start, kEnd}, ids);
    // Each chunk begins anew from the phase that the chunk before left.
    std::vector<step::Phase> chunked;
    step::Phase phase = start;
    for (std::size_t at = 0; at < ids.size();) {
      PhaseMachine machine(phase, kEnd);
      for (std::size_t left = 1 + random() % 5; left > 0 && at < ids.size(); --left, ++at) {
        chunked.push_back(machine.Next(ids[at]));
      }
      phase = machine.phase();
    }
    EXPECT_EQ(chunked, whole);
  }
}

TEST(StartPhase, PromptThatEndsThinkingStartsTheAnswer) {
  const std::vector<std::int32_t> open = {1, 2};
  const std::vector<std::int32_t> closed = {1, kEnd};
  EXPECT_EQ(StartPhase(R, open, kEnd), R);
  EXPECT_EQ(StartPhase(A, open, kEnd), A);
  EXPECT_EQ(StartPhase(R, closed, kEnd), A);
  EXPECT_EQ(StartPhase(R, closed, -1), R);
}

}  // namespace
}  // namespace thinkwire::worker::engine
