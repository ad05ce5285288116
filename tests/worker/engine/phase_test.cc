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

TEST(PhaseMachine, IsAConstant) {
  constexpr step::Phase after = [] {
    PhaseMachine machine(R, kEnd);
    machine.Next(kEnd);
    return machine.phase();
  }();
  static_assert(after == A);
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
