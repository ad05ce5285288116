#include "router/decision/affinity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "router/decision/prompt_marks.h"
#include "router/decision/score_policy.h"
#include "tests/router/decision/family.h"

namespace thinkwire::router::decision {
namespace {

TEST(IsWithinBound, IsAQuarterAboveTheMeanWithTheNewOne) {
  EXPECT_TRUE(IsWithinBound(0, 0, 4));    // whoever is first
  EXPECT_FALSE(IsWithinBound(1, 1, 4));   // the second of two where others have none
  EXPECT_TRUE(IsWithinBound(1, 4, 4));    // 2 <= 1.25 * 5 / 4, rounded up
  EXPECT_TRUE(IsWithinBound(12, 40, 4));  // 13 <= 12.8, rounded up
  EXPECT_FALSE(IsWithinBound(13, 40, 4));
  EXPECT_TRUE(IsWithinBound(99, 99, 1));  // alone there is no other
}

// Four workers of one variant, each with eight requests, and a prompt of 1,000 tokens.
class AffinityTest : public testing::Test {
 protected:
  AffinityTest() {
    for (int i = 0; i < 4; ++i) {
      WorkerView& worker = workers_.emplace_back(IdleWorker(0));
      worker.status->running = 8;
      worker.given = i;  // of equals the first one
    }
  }

  Decision Decide() const {
    const std::vector<VariantView> views = FreshViews(variants_);
    return *ScorePolicy(variants_).Decide(query_, {.workers = workers_, .variants = views});
  }

  const std::vector<VariantConfig> variants_ = {KnownVariant("llama-8b")};
  std::vector<WorkerView> workers_;
  Query query_{.prompt_bytes = 4000, .cached = {{.worker = 2, .bytes = 3248}}};
};

TEST_F(AffinityTest, AConversationGoesBackToWhoHasItsBlocks) {
  const Decision decision = Decide();
  EXPECT_EQ(decision.worker, 2U);
  EXPECT_EQ(decision.worker_reason, "has 812 tokens of this conversation: 0 queued, 8 running");
  EXPECT_EQ(decision.cached_tokens, 812);
  query_.cached.clear();
  EXPECT_EQ(Decide().worker, 0U);
  EXPECT_EQ(Decide().cached_tokens, 0);
  EXPECT_FALSE(Decide().cached_elsewhere);
}

TEST_F(AffinityTest, GoesToWhoHasMost) {
  query_.cached = {
      {.worker = 1, .bytes = 1000}, {.worker = 3, .bytes = 4000}, {.worker = 2, .bytes = 64}};
  EXPECT_EQ(Decide().worker, 3U);
}

TEST_F(AffinityTest, MakesNoWorkerTheBusyOne) {
  query_.prompt_bytes = 40'000;
  query_.cached[0].bytes = 39'000;
  workers_[2].status->running = 11;  // 12 <= 1.25 * 36 / 4, rounded up
  EXPECT_EQ(Decide().worker, 2U);
  workers_[2].status->running = 12;
  EXPECT_EQ(Decide().worker, 0U);
  EXPECT_TRUE(Decide().cached_elsewhere);
  EXPECT_EQ(Decide().worker_reason,
            "the one of 4 live ones that is through first: 0 queued, 8 running");
  // Whoever would be chosen anyway may have it, and any load.
  for (WorkerView& worker : workers_) worker.status->running = 16;
  workers_[2].status->running = 11;
  EXPECT_EQ(Decide().worker, 2U);
  EXPECT_EQ(Decide().cached_tokens, 9750);
}

TEST_F(AffinityTest, APaceThatIsBetterByNoiseKeepsNobodyFromGoingBack) {
  workers_[0].seconds_per_token = 0.0185;
  EXPECT_EQ(Decide().worker, 2U);
  workers_[0].seconds_per_token = 0.01;
  EXPECT_EQ(Decide().worker, 0U);
}

TEST_F(AffinityTest, AWorkerWhosePaceWasNeverSeenHasItsShare) {
  query_.cached.clear();
  for (WorkerView& worker : workers_) worker.seconds_per_token = 0.007;
  workers_[3].seconds_per_token = 0;
  workers_[3].status->running = 7;
  EXPECT_EQ(Decide().worker, 3U);
}

TEST_F(AffinityTest, FewTokensAreWorthNoWait) {
  for (WorkerView& worker : workers_) worker.status->running = 15;
  workers_[2].status->running = 16;  // it would wait for a place
  query_.cached[0].bytes = 64;
  EXPECT_EQ(Decide().worker, 0U);
  EXPECT_TRUE(Decide().cached_elsewhere);
}

TEST_F(AffinityTest, ASlowReaderOfPromptsIsWorthMore) {
  workers_[2].status->running = 9;
  query_.cached[0].bytes = 640;
  for (WorkerView& worker : workers_) worker.prompt_tokens_per_s = 100'000;
  EXPECT_NE(Decide().worker, 2U);
  for (WorkerView& worker : workers_) worker.prompt_tokens_per_s = 500;
  EXPECT_EQ(Decide().worker, 2U);
}

TEST_F(AffinityTest, IsNoReasonToMissADeadlineOrAContext) {
  workers_[2].status->max_model_len = 2000;
  EXPECT_EQ(Decide().worker, 0U);
  workers_[2].status->max_model_len = 131'072;
  workers_[2].seconds_per_token = 0.2;
  query_.deadline_s = 120;
  EXPECT_EQ(Decide().worker, 0U);
}

TEST_F(AffinityTest, WhoWasTriedOrIsGoneCountsForNothing) {
  query_.tried = {2};
  EXPECT_EQ(Decide().worker, 0U);
  query_.tried.clear();
  workers_[2].status.reset();
  EXPECT_EQ(Decide().worker, 0U);
}

TEST_F(AffinityTest, NoMoreIsCachedThanThePromptHas) {
  query_.cached[0].bytes = 1e9;
  EXPECT_EQ(Decide().cached_tokens, 1000);
}

// However it is asked, nobody is above the bound by it: all conversations begin alike.
TEST_F(AffinityTest, ACommonBeginningLeavesTheLoadBalanced) {
  for (WorkerView& worker : workers_) worker.status->running = 0;
  query_.prompt_bytes = 400'000;
  query_.cached = {{.worker = 1, .bytes = 399'000}};
  for (int i = 1; i <= 400; ++i) {
    const Decision decision = Decide();
    WorkerView& worker = workers_[decision.worker];
    if (decision.cached_tokens > 0) {
      EXPECT_LE(worker.leased + 1, std::ceil(kMostLoad * i / 4));
    }
    ++worker.leased;
  }
  EXPECT_EQ(workers_[1].leased, 125);
}

TEST_F(AffinityTest, TheVariantIsChosenWithoutIt) {
  std::vector<VariantConfig> variants = {KnownVariant("llama-8b"), KnownVariant("qwen-32b")};
  const std::vector<VariantView> views = FreshViews(variants);
  for (std::size_t i = 2; i < 4; ++i) workers_[i].variant = 1;
  const auto decide = [&] {
    return *ScorePolicy(variants).Decide(query_, {.workers = workers_, .variants = views});
  };
  query_.task = Task::kMath;
  query_.cached.clear();
  const std::size_t best = decide().variant;
  query_.cached = {{.worker = best == 0 ? 2U : 0U, .bytes = 4000}};
  EXPECT_EQ(decide().variant, best);
  EXPECT_TRUE(decide().cached_elsewhere);
}

TEST(PrefixUse, IsAWord) {
  EXPECT_EQ(PrefixUse({}, 0), "unknown");
  EXPECT_EQ(PrefixUse({}, 100), "unknown");
  Decision elsewhere;
  elsewhere.cached_elsewhere = true;
  EXPECT_EQ(PrefixUse(elsewhere, 0), "elsewhere");
  Decision returned;
  returned.cached_tokens = 100;
  EXPECT_EQ(PrefixUse(returned, 50), "hit");
  EXPECT_EQ(PrefixUse(returned, 49), "miss");
}

TEST(KeepsMark, NearTheEndAllAndFartherFewer) {
  const auto kept = [](std::size_t last) {
    std::vector<std::size_t> places;
    for (std::size_t place = 1; place <= last; ++place) {
      if (KeepsMark(place, last)) places.push_back(place);
    }
    return places;
  };
  EXPECT_EQ(kept(16).size(), 16U);
  EXPECT_EQ(kept(20), (std::vector<std::size_t>{2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
                                                18, 19, 20}));
  EXPECT_LE(kept(6144).size(), 100U);
}

TEST(KeepsMark, ALongerPromptFindsTheOneBefore) {
  for (std::size_t last = 1; last < 300; ++last) {
    for (std::size_t longer = last; longer < 400; ++longer) {
      std::size_t found = 0;
      for (std::size_t place = 1; place <= last; ++place) {
        if (!KeepsMark(place, longer)) continue;
        ASSERT_TRUE(KeepsMark(place, last)) << place << " of " << last << " and " << longer;
        found = place;
      }
      ASSERT_LE(7 * (last - found), longer - last) << last << " " << longer;
    }
  }
}

}  // namespace
}  // namespace thinkwire::router::decision
