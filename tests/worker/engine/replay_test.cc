#include "worker/engine/replay.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/worker/engine/reference.h"

namespace thinkwire::worker::engine {
namespace {

const std::vector<std::int32_t>& Ends() {
  static const auto& ends = *new std::vector<std::int32_t>{kEos};
  return ends;
}

TEST(ReplayTest, SaysOfTokensWhatTheEngineSaid) {
  FakeModel model(kVocab);
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    for (std::int32_t i = 0; i < 4; ++i) model.Script(seed, 5 + i, kBlank);
    model.Script(seed, 5 + static_cast<std::int32_t>(seed % 5), seed % 2 == 0 ? kThink : 50);
    model.Script(seed, 12, kThinkEnd);
    model.Script(seed, 12 + static_cast<std::int32_t>(seed % 7), kEos);
    Request request = seed % 3 == 0 ? MakeOpenRequest(seed, 5, 12) : MakeRequest(seed, 5, 12);
    request.ignore_eos = seed % 4 == 0;
    request.stop_ids[step::Phase::kReasoning] = {kThinkEnd};
    if (seed % 5 < 3) request.stop_ids = {};
    const Output alone = Alone(model, request, 12);
    Replay replay(request, 12, Ends());
    for (const Token& token : alone.tokens) {
      ASSERT_FALSE(replay.end());
      const Token again = replay.Next(token.id);
      EXPECT_EQ(again.phase, token.phase);
      EXPECT_EQ(again.mark, token.mark);
    }
    EXPECT_EQ(replay.end(), alone.reason) << "seed " << seed;
  }
}

TEST(ReplayTest, BlanksAloneLeaveItOpenHowTheOutputBegins) {
  const Request request = MakeOpenRequest(1, 5, 40);
  EXPECT_TRUE(LeaveUndecided(request, {}));
  EXPECT_TRUE(LeaveUndecided(request, std::vector<std::int32_t>(kMaxBlanks, kBlank)));
  EXPECT_FALSE(LeaveUndecided(request, std::vector<std::int32_t>(kMaxBlanks + 1, kBlank)));
  EXPECT_FALSE(LeaveUndecided(request, std::vector<std::int32_t>{kBlank, kThink}));
  EXPECT_FALSE(LeaveUndecided(request, std::vector<std::int32_t>{kBlank, 50, kBlank}));
  EXPECT_FALSE(LeaveUndecided(MakeRequest(1, 5, 40), std::vector<std::int32_t>{kBlank}));
}

}  // namespace
}  // namespace thinkwire::worker::engine
