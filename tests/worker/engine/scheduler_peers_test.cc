// Peers who want more than there is beside peers who want little.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "common/peer_limits.h"
#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"
#include "tests/worker/engine/stepper.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

// By D, the plans in flight.
class SchedulerPeersTest : public testing::TestWithParam<std::int32_t> {
 protected:
  struct Asked {
    Request request;
    Reader reader;
    std::int32_t max_tokens = 0;
    RequestHandle handle = 0;
  };

  SchedulerPeersTest() {
    limits_.max_model_len = 4096;
    limits_.num_blocks = 4096;
  }

  Asked& Ask(Stepper& stepper, const std::string& peer, std::int32_t prompt_tokens,
             std::int32_t max_tokens) {
    Asked& asked = asked_.emplace_back();
    asked.request = MakeRequest(asked_.size(), prompt_tokens, max_tokens);
    asked.request.peer = peer;
    asked.request.ignore_eos = true;
    asked.max_tokens = max_tokens;
    asked.handle = stepper.Add(asked.request, asked.reader);
    return asked;
  }

  // Turns until `asked` has come so far, reading everything; how many it took.
  template <class Condition>
  int TurnsUntil(Stepper& stepper, Condition condition, int at_most = 100'000) {
    int turns = 0;
    for (; !condition() && turns < at_most; ++turns) {
      EXPECT_TRUE(stepper.Turn());
      for (Asked& asked : asked_) asked.reader.Take();
      if (testing::Test::HasFailure()) break;
    }
    return turns;
  }
  static bool Started(const Asked& asked) { return asked.reader.started(); }
  static bool Ended(const Asked& asked) { return asked.reader.ending().has_value(); }

  // How many of `peer`'s are running: those that got something in the last turns.
  std::int32_t Grew(Stepper& stepper, const std::string& peer) {
    std::vector<std::size_t> before;
    for (const Asked& asked : asked_) before.push_back(asked.reader.tokens().size());
    TurnsUntil(
        stepper, [] { return false; }, 3);
    std::int32_t grew = 0;
    for (std::size_t i = 0; i < asked_.size(); ++i) {
      if (asked_[i].request.peer == peer && asked_[i].reader.tokens().size() > before[i]) ++grew;
    }
    return grew;
  }

  // Runs to the end; every text is what it is alone.
  void ExpectAllComplete(Stepper& stepper) {
    TurnsUntil(stepper, [this] { return std::ranges::all_of(asked_, Ended); });
    for (const Asked& asked : asked_) {
      ExpectTokens(asked.reader.tokens(), Alone(stepper.model(), asked.request, asked.max_tokens),
                   true);
    }
    stepper.ExpectIdle();
  }

  step::Limits limits_ = MakeLimits(GetParam());
  std::deque<Asked> asked_;
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerPeersTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerPeersTest, OneWhoAsksOnceIsAdmittedBesideOneWhoHoldsAllSlots) {
  Stepper stepper(limits_);
  for (int i = 0; i < 40; ++i) Ask(stepper, "flood", 20, 2000);
  TurnsUntil(stepper, [&] { return stepper.scheduler().running() == 8; });
  Asked& honest = Ask(stepper, "honest", 20, 10);
  // The turn of the one that goes, and a few steps until it has gone and this has started.
  EXPECT_LE(TurnsUntil(stepper, [&] { return Started(honest); }), kTurnTokens + 10);
  EXPECT_EQ(stepper.scheduler().preemptions(), 1U);
  EXPECT_LE(TurnsUntil(stepper, [&] { return Ended(honest); }), 15);
  EXPECT_EQ(stepper.scheduler().preemptions(), 1U);
  ExpectTokens(honest.reader.tokens(), Alone(stepper.model(), honest.request, 10), true);
}

TEST_P(SchedulerPeersTest, BothHaveHalfWhileBothWantMore) {
  Stepper stepper(limits_);
  for (int i = 0; i < 20; ++i) Ask(stepper, "flood", 20, 1500);
  TurnsUntil(stepper, [&] { return stepper.scheduler().running() == 8; });
  for (int i = 0; i < 6; ++i) Ask(stepper, "second", 20, 600);
  TurnsUntil(
      stepper, [] { return false; }, 200);
  EXPECT_EQ(Grew(stepper, "flood"), 4);
  EXPECT_EQ(Grew(stepper, "second"), 4);
  EXPECT_EQ(stepper.scheduler().preemptions(), 4U) << "and nobody takes anything back";
  TurnsUntil(
      stepper, [] { return false; }, 300);
  EXPECT_EQ(stepper.scheduler().preemptions(), 4U);
  // The rest of the second's; then all is the first's again.
  TurnsUntil(stepper, [&] {
    return std::ranges::all_of(
        asked_, [](const Asked& a) { return a.request.peer == "flood" || Ended(a); });
  });
  TurnsUntil(
      stepper, [] { return false; }, 20);
  EXPECT_EQ(Grew(stepper, "flood"), 8);
  EXPECT_EQ(stepper.scheduler().preemptions(), 4U);
  ExpectAllComplete(stepper);
}

TEST_P(SchedulerPeersTest, NobodyIsDisplacedBeforeItsTurnIsOver) {
  Stepper stepper(limits_);
  for (int i = 0; i < 8; ++i) Ask(stepper, "flood", 4, 2000);
  TurnsUntil(stepper, [&] { return Started(asked_.back()); });
  Asked& honest = Ask(stepper, "honest", 4, 2000);
  TurnsUntil(stepper, [&] { return Started(honest); });
  std::size_t longest = 0;
  for (const Asked& asked : asked_) longest = std::max(longest, asked.reader.tokens().size());
  EXPECT_GE(longest, static_cast<std::size_t>(kTurnTokens));
}

TEST_P(SchedulerPeersTest, MoreThanThereAreSlotsHaveThemByLongTurns) {
  limits_.max_num_seqs = 2;
  Stepper stepper(limits_);
  constexpr int kPeers = 5;
  constexpr std::int32_t kTokens = 1500;
  for (int i = 0; i < kPeers; ++i) Ask(stepper, std::to_string(i), 20, kTokens);
  EXPECT_LE(TurnsUntil(stepper, [this] { return std::ranges::all_of(asked_, Started); }),
            2 * (kLongTurnTokens + 20));
  ExpectAllComplete(stepper);
  EXPECT_GE(stepper.scheduler().preemptions(), 3U);
  EXPECT_LE(stepper.scheduler().preemptions(),
            static_cast<std::uint64_t>(kPeers * kTokens / kLongTurnTokens));
}

TEST_P(SchedulerPeersTest, OneSlotGoesRoundAmongThoseWhoAskAgainAtOnce) {
  limits_.max_num_seqs = 1;
  Stepper stepper(limits_);
  for (int i = 0; i < 30; ++i) Ask(stepper, "flood", 4, 100);
  Asked& last_of_flood = asked_.back();
  int answered = 0;
  Asked* loop = &Ask(stepper, "loop", 4, 10);
  while (!Ended(last_of_flood) && !HasFailure()) {
    TurnsUntil(stepper, [&] { return Ended(*loop) || Ended(last_of_flood); });
    if (Ended(*loop)) {
      ++answered;
      loop = &Ask(stepper, "loop", 4, 10);
    }
  }
  EXPECT_GE(answered, 25) << "one for each of the other's";
  EXPECT_LE(answered, 31);
}

TEST_P(SchedulerPeersTest, OneWhoseSequencesHoldAllBlocksGivesSomeUp) {
  limits_.num_blocks = 320;
  Stepper stepper(limits_);
  for (int i = 0; i < 4; ++i) Ask(stepper, "flood", 280, 400);
  TurnsUntil(stepper, [&] { return stepper.scheduler().running() == 4; });
  TurnsUntil(
      stepper, [] { return false; }, kTurnTokens);
  ASSERT_GT(stepper.scheduler().free_slots(), 0);
  Asked& honest = Ask(stepper, "honest", 240, 20);  // 60 blocks of the 8 or so that are free
  EXPECT_LE(TurnsUntil(stepper, [&] { return Started(honest); }), 40);
  TurnsUntil(stepper, [&] { return Ended(honest); });
  EXPECT_EQ(honest.reader.ending()->preemptions, 0);
  ExpectAllComplete(stepper);
}

TEST_P(SchedulerPeersTest, WhoGrowsTakesBlocksOfWhoHasMost) {
  limits_.num_blocks = 128;
  Stepper stepper(limits_);
  Asked& first = Ask(stepper, "flood", 100, 200);
  Asked& second = Ask(stepper, "flood", 100, 200);
  TurnsUntil(stepper, [&] { return Started(first) && Started(second); });
  Asked& honest = Ask(stepper, "honest", 20, 200);  // the youngest of all
  TurnsUntil(stepper, [&] { return Ended(honest); });
  EXPECT_EQ(honest.reader.ending()->preemptions, 0);
  EXPECT_GE(stepper.scheduler().preemptions(), 1U);
  ExpectAllComplete(stepper);
}

TEST_P(SchedulerPeersTest, WhatIsComputedAgainStaysASmallPart) {
  limits_.max_num_seqs = 2;
  limits_.num_blocks = 600;
  Stepper stepper(limits_, FakeModel(kVocab), /*enable_prefix_caching=*/false);
  for (int i = 0; i < 6; ++i) Ask(stepper, std::to_string(i), 500, 600);
  ExpectAllComplete(stepper);
  EXPECT_GE(stepper.scheduler().preemptions(), 4U);
  std::uint64_t inputs = 0;
  for (const step::Plan& plan : stepper.runner().plans()) {
    for (const step::Row& row : plan.rows) inputs += static_cast<std::uint64_t>(row.count);
  }
  const std::uint64_t steps = stepper.runner().plans().size();
  EXPECT_LE(stepper.scheduler().recomputed_tokens(),
            steps * static_cast<std::uint64_t>(limits_.max_num_batched_tokens) /
                (FairShare::kPayback + 1));
  EXPECT_GT(inputs, 6U * 1000U);
}

TEST_P(SchedulerPeersTest, OnePeerIsServedAsItCame) {
  limits_.max_num_seqs = 2;
  Stepper stepper(limits_);
  for (int i = 0; i < 6; ++i) Ask(stepper, "one", 20, 600);
  ExpectAllComplete(stepper);
  EXPECT_EQ(stepper.scheduler().preemptions(), 0U);
}

}  // namespace
}  // namespace thinkwire::worker::engine
