#include "router/first_fit_policy.h"

#include <gtest/gtest.h>

#include "common/rpc/status_details.h"
#include "router/variant_names.h"

namespace thinkwire::router {
namespace {

RouterConfig Family() {
  return {
      .variants = {{.name = "qwen-1.5b", .workers = {"a:1"}, .max_prompt_bytes = 1000},
                   {.name = "llama-8b",
                    .aliases = {"medium"},
                    .workers = {"a:2"},
                    .tasks = {Task::kCode},
                    .max_prompt_bytes = 5000},
                   {.name = "qwen-32b", .workers = {"a:3"}, .tasks = {Task::kMath, Task::kCode}}}};
}

std::size_t Choose(const RouteQuery& query) {
  const auto route = FirstFitPolicy(Family()).Choose(query);
  EXPECT_TRUE(route.ok()) << route.status();
  EXPECT_FALSE(route->reason.empty());
  return route->variant;
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
    const auto route = FirstFitPolicy(Family()).Choose({.variant = name});
    EXPECT_EQ(route.status().code(), absl::StatusCode::kNotFound) << name;
    EXPECT_EQ(rpc::ErrorReason(route.status()), "VARIANT_NOT_FOUND");
    EXPECT_NE(route.status().message().find("there is qwen-1.5b, llama-8b, qwen-32b"),
              absl::string_view::npos);
  }
}

TEST(FirstFitPolicy, ExplainsAmbiguousOllamaTags) {
  for (const char* name : {"deepseek-r1", "deepseek-r1:latest", "deepseek-r1:8b",
                           "deepseek-r1:8b-0528-qwen3-q4_K_M"}) {
    const auto route = FirstFitPolicy(Family()).Choose({.variant = name});
    EXPECT_NE(route.status().message().find("different models"), absl::string_view::npos) << name;
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
  RouterConfig config = Family();
  config.variants.pop_back();
  const auto route = FirstFitPolicy(config).Choose({.prompt_bytes = 6000});
  ASSERT_TRUE(route.ok());
  EXPECT_EQ(route->variant, 1u);
}

TEST(FirstFitPolicy, ReasonsReadLikeSentences) {
  const FirstFitPolicy policy(Family());
  EXPECT_EQ(policy.Choose({.variant = "medium"})->reason, "named by the request as medium");
  EXPECT_EQ(policy.Choose({.task = Task::kMath})->reason, "preferred for the task math");
  EXPECT_EQ(policy.Choose({.prompt_bytes = 9})->reason,
            "the prompt's 9 bytes are within its limit of 1000");
}

TEST(KnownAliases, NoAliasMeansTwoVariants) {
  const char* names[] = {"qwen-1.5b", "qwen-7b",   "llama-8b", "qwen-14b",
                         "qwen-32b",  "llama-70b", "r1-671b"};
  for (const char* one : names) {
    EXPECT_FALSE(KnownAliases(one).empty());
    for (const std::string& alias : KnownAliases(one)) {
      EXPECT_EQ(WhyAmbiguous(alias), "");
      for (const char* other : names) {
        if (other == one) continue;
        for (const std::string& theirs : KnownAliases(other)) {
          EXPECT_FALSE(MatchesAlias(alias, theirs)) << alias << " " << theirs;
        }
      }
    }
  }
  EXPECT_TRUE(KnownAliases("tiny-r1").empty());
}

}  // namespace
}  // namespace thinkwire::router
