#include "worker/model/checkpoint/moe_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace thinkwire::worker::model {
namespace {

constexpr std::int64_t kLayers = 61;

// DeepSeek-R1's own.
MoeConfig R1() {
  return {.n_routed_experts = 256,
          .num_experts_per_tok = 8,
          .n_group = 8,
          .topk_group = 4,
          .routed_scaling_factor = 2.5,
          .n_shared_experts = 1,
          .moe_intermediate_size = 2048,
          .first_k_dense_replace = 3};
}

std::string MessageOf(const std::function<void(MoeConfig&)>& change) {
  MoeConfig config = R1();
  change(config);
  const absl::Status status = CheckMoeConfig(config, kLayers, "config.json");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(MoeConfigTest, TakesR1sAndOneGroup) {
  EXPECT_TRUE(CheckMoeConfig(R1(), kLayers, "config.json").ok());
  MoeConfig one = R1();
  one.n_group = one.topk_group = 1;
  EXPECT_TRUE(CheckMoeConfig(one, kLayers, "config.json").ok());
}

TEST(MoeConfigTest, RefusesGroupsThatDoNotDivideTheExperts) {
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.n_group = 7; }),
            "config.json: n_group is 7; supported: a divisor of n_routed_experts, 256");
}

TEST(MoeConfigTest, RefusesGroupsOfOneExpert) {
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.n_group = 256; }),
            "config.json: n_group is 256; supported: 1, or groups of at least 2 experts: a "
            "group's score is its two best");
}

TEST(MoeConfigTest, RefusesMoreKeptGroupsThanThereAre) {
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.topk_group = 9; }),
            "config.json: topk_group is 9; supported: an integer from 1 to 8");
}

TEST(MoeConfigTest, RefusesMoreExpertsThanTheKeptGroupsHold) {
  EXPECT_EQ(MessageOf([](MoeConfig& c) {
              c.topk_group = 1;
              c.num_experts_per_tok = 33;
            }),
            "config.json: num_experts_per_tok is 33; supported: at most 32, what topk_group 1 "
            "groups of 32 experts hold");
}

TEST(MoeConfigTest, RefusesWhatIsOutOfRangeByName) {
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.n_routed_experts = 0; }),
            "config.json: n_routed_experts is 0; supported: an integer from 1 to 4096");
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.moe_intermediate_size = 0; }),
            "config.json: moe_intermediate_size is 0; supported: an integer from 1 to 1048576");
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.n_shared_experts = -1; }),
            "config.json: n_shared_experts is -1; supported: an integer from 0 to 64");
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.first_k_dense_replace = 62; }),
            "config.json: first_k_dense_replace is 62; supported: an integer from 0 to 61");
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.routed_scaling_factor = 0; }),
            "config.json: routed_scaling_factor is 0; supported: a number above 0, at most 1e6");
}

TEST(MoeConfigTest, RefusesOtherWaysToChoose) {
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.scoring_func = "softmax"; }),
            "config.json: scoring_func is softmax; supported: sigmoid");
  EXPECT_EQ(MessageOf([](MoeConfig& c) { c.topk_method = "greedy"; }),
            "config.json: topk_method is greedy; supported: noaux_tc");
}

}  // namespace
}  // namespace thinkwire::worker::model
