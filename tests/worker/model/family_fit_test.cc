#include "worker/model/family_fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "common/published_models.h"
#include "worker/model/checkpoint/model_plan.h"

namespace thinkwire::worker::model {
namespace {

using testing::EndsWith;
using testing::HasSubstr;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

step::Limits ServingLimits() {
  step::Limits limits;
  limits.max_num_seqs = 128;
  limits.max_num_batched_tokens = 4096;
  limits.max_model_len = 131072;
  limits.block_tokens = 16;
  limits.vocab_size = 152064;
  return limits;
}

MemoryOffer Gpu(std::int64_t gib, std::int32_t ranks = 1) {
  return {
      .device_bytes = gib * kGiB,
      .ranks = ranks,
      .device = {
          .name = "cuda", .kind = kernels::DeviceKind::kCuda, .activation = kernels::DType::kBf16}};
}

// The numbers of parameters that the hub shows for deepseek-ai/DeepSeek-R1-Distill-*.
TEST(DistillsTest, HaveAsManyParametersAsThePublishedOnes) {
  const std::vector<std::int64_t> published = {1'777'088'000,  7'615'616'512,  8'030'261'248,
                                               14'770'033'664, 32'763'876'352, 70'553'706'496};
  ASSERT_EQ(Distills().size(), published.size());
  for (std::size_t i = 0; i < published.size(); ++i) {
    EXPECT_EQ(CountParameters(MakePlan(Distills()[i].config)), published[i]);
    EXPECT_EQ(Distills()[i].variant, PublishedModels()[i].variant);
  }
}

struct Room {
  std::int64_t gib;
  std::int32_t ranks;
  std::string awq_gemm;  // the largest; empty: none
  std::string fp8_block;
  std::string bf16;
};

std::string Told(const Room& room) {
  if (room.bf16.empty()) return "";
  return room.awq_gemm + " as awq-gemm (4 bits a weight), " + room.fp8_block +
         " as fp8-block (8 bits), " + room.bf16 + " as published (bf16)";
}

class WhatFitsTest : public testing::TestWithParam<Room> {};

TEST_P(WhatFitsTest, NamesTheLargestOfEachFormat) {
  EXPECT_EQ(WhatFits(ServingLimits(), Gpu(GetParam().gib, GetParam().ranks), false),
            Told(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Gpus, WhatFitsTest,
                         testing::Values(Room{2, 1, "", "", ""},
                                         Room{8, 1, "llama-8b", "qwen-1.5b", "qwen-1.5b"},
                                         Room{16, 1, "qwen-14b", "llama-8b", "qwen-1.5b"},
                                         Room{24, 1, "qwen-32b", "qwen-14b", "llama-8b"},
                                         Room{48, 1, "llama-70b", "qwen-32b", "qwen-14b"},
                                         Room{80, 1, "llama-70b", "qwen-32b", "qwen-32b"},
                                         Room{140, 1, "llama-70b", "llama-70b", "qwen-32b"},
                                         Room{80, 2, "llama-70b", "llama-70b", "llama-70b"},
                                         // Three ranks divide no distill's heads.
                                         Room{80, 3, "", "", ""}));

TEST(ChooseBlocksOrAdviseTest, ARefusalSaysWhatFits) {
  const auto refused =
      ChooseBlocksOrAdvise(MakePlan(Distills()[4].config), ServingLimits(), Gpu(24));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              HasSubstr("the model does not fit: of 24.0 GiB free on a device"));
  EXPECT_THAT(std::string(refused.status().message()),
              EndsWith("; of DeepSeek-R1's distills there fit: " +
                       WhatFits(ServingLimits(), Gpu(24), false)));
}

TEST(ChooseBlocksOrAdviseTest, SaysSoWhereNothingFits) {
  const auto refused =
      ChooseBlocksOrAdvise(MakePlan(Distills()[0].config), ServingLimits(), Gpu(1));
  EXPECT_THAT(std::string(refused.status().message()),
              EndsWith("; of DeepSeek-R1's distills none fits so"));
}

// Where it is keys and values that there is no room for.
TEST(ChooseBlocksOrAdviseTest, FitsMoreWithKeysAndValuesInFp8) {
  std::int64_t gib = 4;
  while (gib < 100 &&
         WhatFits(ServingLimits(), Gpu(gib), true) == WhatFits(ServingLimits(), Gpu(gib), false)) {
    ++gib;
  }
  ASSERT_LT(gib, 100) << "FP8 never helps";
  ModelPlan plan = MakePlan(Distills()[5].config);
  plan.kv_cache.is_fp8 = true;
  const auto refused = ChooseBlocksOrAdvise(plan, ServingLimits(), Gpu(gib));
  EXPECT_THAT(std::string(refused.status().message()),
              EndsWith("there fit: " + WhatFits(ServingLimits(), Gpu(gib), true)));
}

TEST(ChooseBlocksOrAdviseTest, WhatFitsIsNotTalkedOf) {
  const MemoryOffer offer = Gpu(80);
  const ModelPlan plan = MakePlan(Distills()[1].config);
  EXPECT_EQ(ChooseBlocksOrAdvise(plan, ServingLimits(), offer).value(),
            ChooseBlocks(plan, ServingLimits(), offer).value());
}

TEST(WhatFitsHereTest, TheHostHasRoomToo) {
  const MemoryOffer offer = {.host_bytes = 12 * kGiB, .device = {.name = "cpu"}};
  step::Limits limits = ServingLimits();
  limits.max_num_seqs = 16;
  limits.max_num_batched_tokens = 512;
  EXPECT_THAT(WhatFits(limits, offer, false), HasSubstr("qwen-1.5b as published (bf16)"));
}

}  // namespace
}  // namespace thinkwire::worker::model
