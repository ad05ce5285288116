#include "worker/text/first_phase.h"

#include <gtest/gtest.h>

#include <vector>

namespace thinkwire::worker::text {
namespace {

constexpr std::int32_t kEos = 1;
constexpr std::int32_t kUser = 2;
constexpr std::int32_t kAssistant = 3;
constexpr std::int32_t kThink = 4;
constexpr std::int32_t kThinkEnd = 5;
constexpr std::int32_t kOutputsEnd = 6;
constexpr std::int32_t kText = 7;

FirstPhase After(const std::vector<std::int32_t>& ids) {
  return FirstPhaseAfter(ids, {.bos = 0,
                               .eos = kEos,
                               .user = kUser,
                               .assistant = kAssistant,
                               .think_begin = kThink,
                               .think_end = kThinkEnd,
                               .tool_outputs_end = kOutputsEnd});
}

TEST(FirstPhaseAfter, TheLastThinkIdOfTheTurnSaysIt) {
  EXPECT_EQ(After({kText, kThink, kText}), FirstPhase::kReasoning);
  EXPECT_EQ(After({kThink, kThinkEnd, kThink}), FirstPhase::kReasoning);
  EXPECT_EQ(After({kUser, kText, kAssistant, kThink, kText}), FirstPhase::kReasoning);
  EXPECT_EQ(After({kAssistant, kThink, kText, kThinkEnd, kText}), FirstPhase::kAnswer);
}

TEST(FirstPhaseAfter, AnOpenTurnWithoutOneIsUndecided) {
  EXPECT_EQ(After({kUser, kText, kAssistant}), FirstPhase::kUndecided);
  EXPECT_EQ(After({kUser, kText, kAssistant, kText}), FirstPhase::kUndecided);
  EXPECT_EQ(After({kAssistant, kText, kEos, kText, kOutputsEnd}), FirstPhase::kUndecided);
  EXPECT_EQ(After({kThink, kText, kAssistant}), FirstPhase::kUndecided);
}

TEST(FirstPhaseAfter, AThoughtThatAnEarlierTurnLeftOpenDoesNotCount) {
  EXPECT_EQ(After({kAssistant, kThink, kText, kEos, kUser, kText, kAssistant}),
            FirstPhase::kUndecided);
  EXPECT_EQ(After({kAssistant, kThink, kText, kEos}), FirstPhase::kAnswer);
  EXPECT_EQ(After({kAssistant, kThink, kText, kEos, kText}), FirstPhase::kAnswer);
  EXPECT_EQ(After({kAssistant, kThink, kText, kUser, kText}), FirstPhase::kAnswer);
}

TEST(FirstPhaseAfter, WithoutATurnOrThinkTokensItIsTheAnswer) {
  EXPECT_EQ(After({}), FirstPhase::kAnswer);
  EXPECT_EQ(After({kText, kText}), FirstPhase::kAnswer);
  const std::vector<std::int32_t> open = {kUser, kAssistant};
  ControlIds control;
  control.assistant = kAssistant;
  EXPECT_EQ(FirstPhaseAfter(open, control), FirstPhase::kAnswer);
}

}  // namespace
}  // namespace thinkwire::worker::text
