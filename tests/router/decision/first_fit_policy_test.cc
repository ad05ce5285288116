#include "router/decision/first_fit_policy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "common/utf8.h"

namespace thinkwire::router::decision {
namespace {

std::vector<VariantConfig> Family() {
  return {{.name = "qwen-1.5b", .workers = {"a:1"}, .max_prompt_bytes = 1000},
          {.name = "llama-8b",
           .aliases = {"medium"},
           .workers = {"a:2"},
           .tasks = {Task::kCode},
           .max_prompt_bytes = 5000},
          {.name = "qwen-32b", .workers = {"a:3"}, .tasks = {Task::kMath, Task::kCode}}};
}

// Its workers, all live.
std::vector<WorkerView> Live() {
  return {{.variant = 0, .address = "a:1", .status = WorkerStatus{}},
          {.variant = 1, .address = "a:2", .status = WorkerStatus{}},
          {.variant = 2, .address = "a:3", .status = WorkerStatus{}}};
}

absl::StatusOr<Decision> Decide(const Query& query) {
  return FirstFitPolicy(Family()).Decide(query, Live());
}

std::size_t Choose(const Query& query) {
  const auto decision = Decide(query);
  EXPECT_TRUE(decision.ok()) << decision.status();
  EXPECT_FALSE(decision->variant_reason.empty());
  EXPECT_EQ(decision->worker, decision->variant);
  return decision->variant;
}

TEST(FirstFitPolicy, TakesTheVariantThatTheRequestNames) {
  EXPECT_EQ(Choose({.variant = "qwen-1.5b", .prompt_bytes = 1 << 20}), 0u);
  EXPECT_EQ(Choose({.variant = "QWEN-32B"}), 2u);
  EXPECT_EQ(Choose({.variant = "medium"}), 1u);
  EXPECT_EQ(Choose({.variant = "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"}), 1u);
  EXPECT_EQ(Choose({.variant = "deepseek-r1:32b"}), 2u);
  EXPECT_EQ(Choose({.variant = "deepseek-r1:8b-llama-distill-q4_K_M"}), 1u);
}

TEST(FirstFitPolicy, KnowsNoOtherNamesAndSaysWhichThereAre) {
  for (const char* name : {"qwen", "qwen-7b", "deepseek-r1:7b", "8b", " qwen-32b", "*",
                           "deepseek-r1:8b-llama-distill-"}) {
    const auto decision = Decide({.variant = name});
    EXPECT_EQ(decision.status().code(), absl::StatusCode::kNotFound) << name;
    EXPECT_NE(decision.status().message().find("there is qwen-1.5b, llama-8b, qwen-32b"),
              absl::string_view::npos);
  }
}

TEST(FirstFitPolicy, RepeatsLittleOfALongNameAndWholeCharacters) {
  std::string name = "a";
  for (int i = 0; i < 60; ++i) name += "\u00e9";
  const auto unknown = Decide({.variant = name});
  EXPECT_TRUE(IsValidUtf8(std::string(unknown.status().message())));
  EXPECT_NE(unknown.status().message().find("\u00e9..."), absl::string_view::npos);

  const auto known =
      Decide({.variant = "deepseek-r1:8b-llama-distill-" + std::string(1 << 20, 'x')});
  ASSERT_TRUE(known.ok());
  EXPECT_LT(known->variant_reason.size(), 200u);
}

TEST(FirstFitPolicy, ExplainsAmbiguousOllamaTags) {
  for (const char* name : {"deepseek-r1", "deepseek-r1:latest", "deepseek-r1:8b",
                           "deepseek-r1:8b-0528-qwen3-q4_K_M"}) {
    const auto decision = Decide({.variant = name});
    EXPECT_NE(decision.status().message().find("different models"), absl::string_view::npos)
        << name;
  }
}

TEST(FirstFitPolicy, ThenGoesByTheTask) {
  EXPECT_EQ(Choose({.task = Task::kMath, .prompt_bytes = 1}), 2u);
  EXPECT_EQ(Choose({.task = Task::kCode, .prompt_bytes = 1}), 1u);
}

TEST(FirstFitPolicy, ThenByTheLengthOfThePrompt) {
  EXPECT_EQ(Choose({.prompt_bytes = 0}), 0u);
  EXPECT_EQ(Choose({.prompt_bytes = 1000}), 0u);
  EXPECT_EQ(Choose({.prompt_bytes = 1001}), 1u);
  EXPECT_EQ(Choose({.prompt_bytes = 5001}), 2u);
  EXPECT_EQ(Choose({.task = Task::kWriting, .prompt_bytes = 10}), 0u);  // nobody's task
}

TEST(FirstFitPolicy, TheLastVariantTakesWhatNobodyWants) {
  std::vector<VariantConfig> variants = Family();
  variants.pop_back();
  const auto decision = FirstFitPolicy(variants).Decide({.prompt_bytes = 6000}, Live());
  ASSERT_TRUE(decision.ok());
  EXPECT_EQ(decision->variant, 1u);
}

TEST(FirstFitPolicy, ReasonsReadLikeSentences) {
  EXPECT_EQ(Decide({.variant = "medium"})->variant_reason, "named by the request as medium");
  EXPECT_EQ(Decide({.task = Task::kMath})->variant_reason, "preferred for the task math");
  EXPECT_EQ(Decide({.prompt_bytes = 9})->variant_reason,
            "the prompt's 9 bytes are within its limit of 1000");
}

TEST(FirstFitPolicy, DecidesVariantAndWorkerTogether) {
  std::vector<WorkerView> workers = Live();
  workers.push_back({.variant = 1, .address = "b:2", .status = WorkerStatus{.running = 1}});
  workers[1].status->running = 2;
  const auto decision = FirstFitPolicy(Family()).Decide({.variant = "medium"}, workers);
  ASSERT_TRUE(decision.ok()) << decision.status();
  EXPECT_EQ(decision->variant, 1u);
  EXPECT_EQ(decision->worker, 3u);
  EXPECT_EQ(decision->worker_reason,
            "the one of 2 live ones with least to do: 0 queued, 1 running");
}

TEST(FirstFitPolicy, NoOtherVariantStandsInForOneWithoutLiveWorkers) {
  std::vector<WorkerView> workers = Live();
  workers[1].status.reset();
  workers[1].why_not = "it is silent";
  const auto decision = FirstFitPolicy(Family()).Decide({.variant = "llama-8b"}, workers);
  EXPECT_EQ(decision.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(decision.status().message(), "no worker of llama-8b is live (a:2: it is silent)");
  EXPECT_EQ(UnavailableVariant(decision.status()), "llama-8b");
  workers[1].status.emplace().draining = true;
  workers[1].why_not = "it is draining";
  EXPECT_EQ(FirstFitPolicy(Family()).Decide({.task = Task::kCode}, workers).status().message(),
            "no worker of llama-8b is live (a:2: it is draining)");
}

TEST(FirstFitPolicy, AnUnknownNameIsSaidEvenWhereNobodyIsLive) {
  const auto decision = FirstFitPolicy(Family()).Decide({.variant = "qwen"}, {});
  EXPECT_EQ(decision.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(UnavailableVariant(decision.status()), "");
}

}  // namespace
}  // namespace thinkwire::router::decision
