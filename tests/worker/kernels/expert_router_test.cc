#include "worker/kernels/expert_router.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

// The choices are constructed; the formula against another's is MoeFfnTest's.
namespace thinkwire::worker::kernels {
namespace {

constexpr RoutingRule kRule = {
    .num_experts = 8, .num_groups = 4, .kept_groups = 2, .per_token = 3, .factor = 2.5F};

std::vector<ChosenExpert> Choose(const RoutingRule& rule, const std::vector<float>& logits,
                                 const std::vector<float>& bias) {
  ExpertRouter router(rule, bias);
  std::vector<ChosenExpert> chosen(static_cast<std::size_t>(rule.per_token));
  router.Choose(logits.data(), chosen);
  return chosen;
}

std::vector<int> Ids(const std::vector<ChosenExpert>& chosen) {
  std::vector<int> ids;
  for (const ChosenExpert& expert : chosen) ids.push_back(expert.id);
  return ids;
}

TEST(ExpertRouterTest, ResolvesTiesToTheLowestIds) {
  const std::vector<float> equal(8, 0.0F);
  const std::vector<ChosenExpert> chosen = Choose(kRule, equal, equal);
  EXPECT_EQ(Ids(chosen), (std::vector<int>{0, 1, 2}));
  for (const ChosenExpert& expert : chosen) EXPECT_FLOAT_EQ(expert.weight, 2.5F / 3);
}

TEST(ExpertRouterTest, ResolvesTiesOfGroupsToTheFirstOnes) {
  const std::vector<float> none(8, 0.0F);
  // Groups 1, 2 and 3 have the same two, the other way round.
  EXPECT_EQ(Ids(Choose(kRule, {-9, -9, 1, 0, 0, 1, 1, 0}, none)), (std::vector<int>{2, 3, 5}));
}

TEST(ExpertRouterTest, DropsGroupsByTheSumOfTheirTwoBest) {
  const std::vector<float> none(8, 0.0F);
  // Expert 0 is the best of all, in the worst group but one, which is dropped.
  EXPECT_EQ(Ids(Choose(kRule, {3, -9, 1, 1, 1, 2, -9, -9}, none)), (std::vector<int>{2, 3, 5}));
}

TEST(ExpertRouterTest, LeavesDroppedGroupsOutThoughTheKeptAreBelowZero) {
  const std::vector<float> logits(8, 0.0F);
  // b of group 0 is 0.7 and -0.6, of group 1 twice -0.1, of the others far below.
  const std::vector<float> bias = {0.2F, -1.1F, -0.6F, -0.6F, -3, -3, -3, -3};
  EXPECT_EQ(Ids(Choose(kRule, logits, bias)), (std::vector<int>{0, 2, 3}));
}

TEST(ExpertRouterTest, WeighsByTheScoresWithoutTheBias) {
  const RoutingRule rule = {.num_experts = 3, .per_token = 2, .normalise = false, .factor = 2.0F};
  const std::vector<ChosenExpert> chosen = Choose(rule, {0, 50, -50}, {0, -2, 3});
  EXPECT_EQ(Ids(chosen), (std::vector<int>{0, 2}));
  EXPECT_FLOAT_EQ(chosen[0].weight, 1.0F);
  EXPECT_NEAR(chosen[1].weight, 0.0F, 1e-20F);
}

TEST(ExpertRouterTest, ChoosesThoughNothingIsANumber) {
  const std::vector<float> nothing(8, std::numeric_limits<float>::quiet_NaN());
  const std::vector<ChosenExpert> chosen = Choose(kRule, nothing, std::vector<float>(8, 0.0F));
  EXPECT_EQ(Ids(chosen), (std::vector<int>{0, 1, 2}));
  EXPECT_NE(chosen[0].weight, chosen[0].weight);
}

}  // namespace
}  // namespace thinkwire::worker::kernels
