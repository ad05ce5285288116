#include "router/decision/score_policy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/utf8.h"
#include "tests/router/decision/family.h"

namespace thinkwire::router::decision {
namespace {

// Variants, and one idle worker of each.
class ScorePolicyTest : public testing::Test {
 protected:
  ScorePolicyTest() {
    for (const char* name : {"qwen-1.5b", "llama-8b", "qwen-14b", "qwen-32b", "llama-70b"}) {
      variants_.push_back(KnownVariant(name));
      workers_.push_back(IdleWorker(workers_.size(), std::string(name) + ":1"));
    }
    variants_[1].aliases = {"medium"};
  }

  absl::StatusOr<Decision> Decide(const Query& query) const {
    const std::vector<VariantView> views = FreshViews(variants_);
    return ScorePolicy(variants_).Decide(query, {.workers = workers_, .variants = views});
  }

  std::string Choose(const Query& query) const {
    const auto decision = Decide(query);
    EXPECT_TRUE(decision.ok()) << decision.status();
    if (!decision.ok()) return "";
    EXPECT_FALSE(decision->variant_reason.empty());
    EXPECT_EQ(workers_[decision->worker].variant, decision->variant);
    return variants_[decision->variant].name;
  }

  Cause CauseOf(const Query& query) const { return Decide(query)->cause; }

  std::vector<VariantConfig> variants_;
  std::vector<WorkerView> workers_;
};

TEST_F(ScorePolicyTest, TakesTheVariantThatTheRequestNames) {
  EXPECT_EQ(Choose({.variant = "qwen-1.5b", .prompt_bytes = 1 << 20}), "qwen-1.5b");
  EXPECT_EQ(Choose({.variant = "QWEN-32B"}), "qwen-32b");
  EXPECT_EQ(Choose({.variant = "medium"}), "llama-8b");
  EXPECT_EQ(Choose({.variant = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"}), "llama-8b");
  EXPECT_EQ(Choose({.variant = "deepseek-r1:32b"}), "qwen-32b");
  EXPECT_EQ(Choose({.variant = "deepseek-r1:8b-llama-distill-q4_K_M"}), "llama-8b");
  EXPECT_EQ(Decide({.variant = "Qwen-32b"})->variant_reason, "named by the request");
  EXPECT_EQ(Decide({.variant = "medium"})->variant_reason, "named by the request as medium");
  EXPECT_EQ(CauseOf({.variant = "medium"}), Cause::kNamed);
}

TEST_F(ScorePolicyTest, KnowsNoOtherNamesAndSaysWhichThereAre) {
  for (const char* name : {"qwen", "qwen-7b", "deepseek-r1:7b", "8b", " qwen-32b", "*",
                           "deepseek-r1:8b-llama-distill-"}) {
    const auto decision = Decide({.variant = name});
    EXPECT_EQ(decision.status().code(), absl::StatusCode::kNotFound) << name;
    EXPECT_NE(decision.status().message().find("there is qwen-1.5b, llama-8b, qwen-14b"),
              absl::string_view::npos);
  }
}

TEST_F(ScorePolicyTest, AnUnknownNameIsSaidEvenWhereNobodyIsLive) {
  workers_.clear();
  const auto decision = Decide({.variant = "qwen"});
  EXPECT_EQ(decision.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(UnavailableVariant(decision.status()), "");
}

TEST_F(ScorePolicyTest, RepeatsLittleOfALongNameAndWholeCharacters) {
  std::string name = "a";
  for (int i = 0; i < 100; ++i) name += "\u00e9";
  const auto unknown = Decide({.variant = name});
  EXPECT_TRUE(IsValidUtf8(std::string(unknown.status().message())));
  EXPECT_NE(unknown.status().message().find("\u00e9..."), absl::string_view::npos);

  const auto known =
      Decide({.variant = "deepseek-r1:8b-llama-distill-" + std::string(1 << 20, 'x')});
  ASSERT_TRUE(known.ok());
  EXPECT_LT(known->variant_reason.size(), 200u);
}

TEST_F(ScorePolicyTest, ExplainsAmbiguousOllamaTags) {
  for (const char* name : {"deepseek-r1", "deepseek-r1:latest", "deepseek-r1:8b",
                           "deepseek-r1:8b-0528-qwen3-q4_K_M"}) {
    EXPECT_NE(Decide({.variant = name}).status().message().find("different models"),
              absl::string_view::npos)
        << name;
  }
}

TEST_F(ScorePolicyTest, UnaskedItWeighsQualityAgainstCostAndTime) {
  // Not the smallest, whose answers are wrong, nor the dearest, which is little better.
  EXPECT_EQ(Choose({.task = Task::kMath}), "qwen-14b");
  EXPECT_EQ(Choose({.task = Task::kCode}), "qwen-32b");
  EXPECT_EQ(Choose({.task = Task::kExtraction}), "qwen-14b");
  EXPECT_EQ(CauseOf({.task = Task::kMath}), Cause::kScore);
}

TEST_F(ScorePolicyTest, GoesByTheEstimatedTaskWhereNoneIsSaid) {
  EXPECT_EQ(Choose({.estimated_task = Task::kCode}), "qwen-32b");
  EXPECT_NE(Decide({.estimated_task = Task::kMath})->variant_reason.find("math (by its text)"),
            std::string::npos);
  EXPECT_NE(Decide({.task = Task::kMath})->variant_reason.find("math: quality 0.96 of the best"),
            std::string::npos)
      << Decide({.task = Task::kMath})->variant_reason;
}

TEST_F(ScorePolicyTest, QualityIsAFloorAboveWhichTheCheapestAndSoonestWins) {
  EXPECT_EQ(Choose({.task = Task::kMath, .wishes = {.quality = 1, .asks_quality = true}}),
            "qwen-32b");
  EXPECT_EQ(Choose({.task = Task::kScience, .wishes = {.quality = 1, .asks_quality = true}}),
            "llama-70b");
  EXPECT_EQ(Choose({.task = Task::kMath, .wishes = {.quality = 0.6, .asks_quality = true}}),
            "llama-8b");
  EXPECT_EQ(Choose({.task = Task::kMath, .wishes = {.quality = 0, .asks_quality = true}}),
            "qwen-1.5b");
}

TEST_F(ScorePolicyTest, CostIsACeilingForLongAnswers) {
  // 16,000 tokens of 8 units a million.
  EXPECT_EQ(Choose({.task = Task::kMath, .wishes = {.max_cost = 0.129}}), "llama-8b");
  EXPECT_EQ(Choose({.task = Task::kMath, .wishes = {.max_cost = 0.127}}), "qwen-1.5b");
  const auto none = Decide(
      {.task = Task::kMath, .wishes = {.quality = 0.9, .asks_quality = true, .max_cost = 0.129}});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(none.status().message(),
            "no variant here has at least 0.9 of the best quality for math and costs at most "
            "0.129 for a long answer");
}

TEST_F(ScorePolicyTest, WishesDoNotMoveANamedVariant) {
  EXPECT_EQ(Choose({.variant = "llama-70b", .wishes = {.max_cost = 0}}), "llama-70b");
}

TEST_F(ScorePolicyTest, TheDeadlineLeavesTimeForTheExpectedAnswer) {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    workers_[i].seconds_per_token = 0.001 * static_cast<double>(1 << i);
  }
  // 6,300 tokens: 6, 13, 25, 50 and 100 s.
  EXPECT_EQ(Choose({.task = Task::kMath, .deadline_s = 30}), "llama-8b");
  EXPECT_EQ(Choose({.task = Task::kMath, .deadline_s = 8}), "qwen-1.5b");
  const auto late = Decide({.task = Task::kMath, .deadline_s = 2});
  EXPECT_EQ(late->cause, Cause::kDeadline);
  EXPECT_NE(late->variant_reason.find("none meets the deadline"), std::string::npos);
}

TEST_F(ScorePolicyTest, AQueueMovesARequestToAnotherVariantWhereItMayChoose) {
  workers_[2].status->running = 16;
  workers_[2].status->queued = 200;
  EXPECT_NE(Choose({.task = Task::kMath}), "qwen-14b");
  EXPECT_EQ(Choose({.variant = "qwen-14b"}), "qwen-14b");
}

TEST_F(ScorePolicyTest, LatencyIsAWishAndNoLimit) {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    workers_[i].seconds_per_token = 0.001 * static_cast<double>(1 << i);
  }
  EXPECT_EQ(Choose({.task = Task::kMath, .wishes = {.latency_s = 14}}), "llama-8b");
  EXPECT_EQ(CauseOf({.task = Task::kMath, .wishes = {.latency_s = 1}}), Cause::kScore);
}

TEST_F(ScorePolicyTest, TheContextHoldsPromptAndLongOutput) {
  for (WorkerView& worker : workers_) worker.status->max_model_len = 8192;
  workers_[4].status->max_model_len = 32'768;
  EXPECT_EQ(Choose({.task = Task::kMath}), "llama-70b");
  EXPECT_EQ(Choose({.task = Task::kMath, .max_tokens = 4000}), "qwen-14b");
  EXPECT_EQ(Choose({.task = Task::kExtraction, .prompt_bytes = 40'000}), "llama-70b");
  EXPECT_EQ(CauseOf({.task = Task::kMath, .prompt_bytes = 400'000}), Cause::kContext);
}

TEST_F(ScorePolicyTest, TheConfigurationMayGrantLessContextThanWorkersHold) {
  for (VariantConfig& variant : variants_) variant.traits.context_tokens = 8192;
  variants_[1].traits.context_tokens = 32'768;
  EXPECT_EQ(Choose({.task = Task::kMath}), "llama-8b");
}

TEST_F(ScorePolicyTest, TheOperatorsPreferenceGoesBeforeTheScore) {
  variants_[4].tasks = {Task::kMath};
  EXPECT_EQ(Choose({.task = Task::kMath}), "llama-70b");
  EXPECT_EQ(Decide({.task = Task::kMath})->variant_reason, "preferred for the task math");
  EXPECT_EQ(CauseOf({.task = Task::kMath}), Cause::kPreferred);
  EXPECT_EQ(Choose({.estimated_task = Task::kMath}), "qwen-14b");
  workers_[4].status.reset();
  EXPECT_EQ(Choose({.task = Task::kMath}), "qwen-14b");
}

TEST_F(ScorePolicyTest, LongPromptsGoOnlyToVariantsThatTakeThem) {
  for (VariantConfig& variant : variants_) variant.max_prompt_bytes = 1000;
  variants_[3].max_prompt_bytes = 5000;
  EXPECT_EQ(Choose({.task = Task::kMath, .prompt_bytes = 1000}), "qwen-14b");
  EXPECT_EQ(Choose({.task = Task::kMath, .prompt_bytes = 1001}), "qwen-32b");
  EXPECT_EQ(Choose({.task = Task::kMath, .prompt_bytes = 9999}), "llama-70b");
}

TEST_F(ScorePolicyTest, NoOtherVariantStandsInForANamedOneUnlessItMay) {
  workers_[1].status.reset();
  workers_[1].why_not = "it is silent";
  const auto decision = Decide({.variant = "llama-8b"});
  EXPECT_EQ(decision.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(decision.status().message(),
            "no worker of llama-8b is live (llama-8b:1: it is silent)");
  EXPECT_EQ(UnavailableVariant(decision.status()), "llama-8b");

  const auto substitute = Decide({.variant = "medium", .wishes = {.may_substitute = true}});
  ASSERT_TRUE(substitute.ok()) << substitute.status();
  EXPECT_EQ(substitute->cause, Cause::kSubstitute);
  EXPECT_EQ(substitute->variant_reason, "stands in for medium, which has no live worker");
  workers_.clear();
  EXPECT_EQ(UnavailableVariant(
                Decide({.variant = "medium", .wishes = {.may_substitute = true}}).status()),
            "llama-8b");
}

TEST_F(ScorePolicyTest, DrainingWorkersAreNotLive) {
  for (WorkerView& worker : workers_) worker.status->draining = true;
  EXPECT_EQ(Decide({}).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ScorePolicyTest, TellsWhatItExpects) {
  const auto decision = Decide({.variant = "qwen-14b", .task = Task::kCode});
  EXPECT_DOUBLE_EQ(decision->expected_reasoning.p50, 3000);
  EXPECT_DOUBLE_EQ(decision->expected_reasoning.p90, 7500);
  EXPECT_EQ(decision->expected_wait_s, 0);
}

TEST_F(ScorePolicyTest, ThePaceOfPlacesIsKnownOnceItWasMeasured) {
  workers_[2].status->running = 16;
  workers_[2].status->queued = 3;
  const auto decision = Decide({.variant = "qwen-14b", .task = Task::kExtraction});
  // 400 tokens at 2 x 0.02 s, in 16 places.
  EXPECT_NEAR(decision->place_s, 1, 1e-9);
  EXPECT_NEAR(decision->expected_wait_s, 4, 1e-9);
  workers_[2].seconds_per_token = 0;
  EXPECT_EQ(Decide({.variant = "qwen-14b"})->place_s, 0);
}

// Two equal workers of one variant, live and idle.
class ScorePolicyWorkersTest : public testing::Test {
 protected:
  std::size_t Choose(std::vector<std::size_t> tried = {}) const {
    const auto decision = Decide(std::move(tried));
    EXPECT_TRUE(decision.ok()) << decision.status();
    return decision.ok() ? decision->worker : workers_.size();
  }
  absl::StatusOr<Decision> Decide(std::vector<std::size_t> tried = {}) const {
    const std::vector<VariantView> views = FreshViews(variants_);
    return ScorePolicy(variants_).Decide({.tried = std::move(tried)},
                                         {.workers = workers_, .variants = views});
  }

  const std::vector<VariantConfig> variants_{KnownVariant("qwen-7b")};
  std::vector<WorkerView> workers_{IdleWorker(0, "a:1"), IdleWorker(0, "b:1")};
};

TEST_F(ScorePolicyWorkersTest, TakesTheOneWithLeastToDo) {
  workers_[0].status->running = 1;
  EXPECT_EQ(Choose(), 1u);
  workers_[1].status->queued = 2;
  EXPECT_EQ(Choose(), 0u);
}

TEST_F(ScorePolicyWorkersTest, AWorkerWithManyPlacesIsLessLoadedByAsManyRequests) {
  workers_[0].status->running = 5;
  workers_[0].status->max_num_seqs = 1000;
  workers_[1].status->running = 1;
  EXPECT_EQ(Choose(), 0u);
}

TEST_F(ScorePolicyWorkersTest, AFasterOneMayHaveMoreToDo) {
  workers_[0].status->running = 4;
  workers_[0].seconds_per_token = 0.005;
  EXPECT_EQ(Choose(), 0u);
}

TEST_F(ScorePolicyWorkersTest, EqualsAreToldApartByFreeBlocksThenByWhatTheyWereGiven) {
  EXPECT_EQ(Choose(), 0u);
  workers_[0].given = 1;
  EXPECT_EQ(Choose(), 1u);
  workers_[0].status->free_kv_blocks = 101;
  EXPECT_EQ(Choose(), 0u);
}

TEST_F(ScorePolicyWorkersTest, PassesOverWhatWasTried) {
  EXPECT_EQ(Choose({0}), 1u);
  EXPECT_EQ(Decide({1, 0}).status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(ScorePolicyWorkersTest, TheReasonTellsOfTheWorkerAndItsRivals) {
  EXPECT_EQ(Decide()->worker_reason,
            "the one of 2 live ones that is through first: 0 queued, 0 running");
  workers_[1].status.reset();
  workers_[0].status->running = 16;
  EXPECT_EQ(Decide()->worker_reason, "the only live one: 0 queued, 16 running");
  EXPECT_EQ(Decide()->variant_reason, "the only variant here");
}

}  // namespace
}  // namespace thinkwire::router::decision
