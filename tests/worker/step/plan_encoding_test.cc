#include "worker/step/plan_encoding.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace thinkwire::worker::step {
namespace {

// Every field is another value than its default, and no two neighbours are alike.
Plan FullPlan() {
  Plan plan;
  plan.step = 0x0102030405060708;
  plan.rows = {{.slot = 3,
                .first_position = 70000,
                .count = 5,
                .first_id = 2,
                .draws = 4,
                .logprob = true,
                .alternatives = 20,
                .adjusted = true,
                .mask = 1,
                .phase = Phase::kAnswer},
               {.slot = 1, .first_id = kLastDrawn, .draws = 1}};
  plan.input_ids = {7, 0, 151935, 1, 2, 3, 4};
  plan.block_table_changes = {{3, 1, 90}, {1, 0, 4}};
  SamplingParams params;
  params.phases = {{{.temperature = 0.25F,
                     .top_p = 0.5F,
                     .min_p = 0.125F,
                     .top_k = 40,
                     .repetition_penalty = 1.5F,
                     .presence_penalty = -0.5F,
                     .frequency_penalty = 0.75F,
                     .num_biases = 1},
                    {.temperature = 2.0F, .top_p = 1.0F, .top_k = -1}}};
  params.seed = 0xFEDCBA9876543210;
  params.output_index = 0xFFFFFFFF;
  params.think_end_id = 77;
  plan.sampling_changes = {{.slot = 3,
                            .params = params,
                            .first_bias = 1,
                            .first_counted = 2,
                            .num_prompt = 3,
                            .num_drawn = 4,
                            .phase = Phase::kAnswer}};
  plan.biases = {{99, -100.0F}, {3, 1.5F}};
  plan.counted_ids = {9, 8, 8, 7, 6, 5, 4, 3, 2};
  plan.masks = {0xFEDCBA9876543210, 0, 1};
  return plan;
}

TEST(PlanEncodingTest, APlanComesBackWithEveryField) {
  const std::optional<Plan> plan = DecodePlan(EncodePlan(FullPlan()));
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->step, 0x0102030405060708U);
  ASSERT_EQ(plan->rows.size(), 2U);
  const Row& row = plan->rows[0];
  EXPECT_EQ(row.slot, 3);
  EXPECT_EQ(row.first_position, 70000);
  EXPECT_EQ(row.count, 5);
  EXPECT_EQ(row.first_id, 2);
  EXPECT_EQ(row.draws, 4);
  EXPECT_TRUE(row.logprob);
  EXPECT_EQ(row.alternatives, 20);
  EXPECT_TRUE(row.adjusted);
  EXPECT_EQ(row.mask, 1);
  EXPECT_EQ(row.phase, Phase::kAnswer);
  EXPECT_EQ(plan->rows[1].first_id, kLastDrawn);
  EXPECT_EQ(plan->rows[1].mask, kNoMask);
  EXPECT_FALSE(plan->rows[1].logprob);
  EXPECT_EQ(plan->input_ids, FullPlan().input_ids);
  EXPECT_EQ(plan->masks, FullPlan().masks);
  ASSERT_EQ(plan->block_table_changes.size(), 2U);
  EXPECT_EQ(plan->block_table_changes[0].slot, 3);
  EXPECT_EQ(plan->block_table_changes[0].index, 1);
  EXPECT_EQ(plan->block_table_changes[0].block, 90);
  ASSERT_EQ(plan->sampling_changes.size(), 1U);
  const SamplingChange& change = plan->sampling_changes[0];
  EXPECT_EQ(change.slot, 3);
  EXPECT_EQ(change.first_bias, 1);
  EXPECT_EQ(change.first_counted, 2);
  EXPECT_EQ(change.num_prompt, 3);
  EXPECT_EQ(change.num_drawn, 4);
  EXPECT_EQ(change.phase, Phase::kAnswer);
  EXPECT_EQ(change.params.seed, 0xFEDCBA9876543210U);
  EXPECT_EQ(change.params.output_index, 0xFFFFFFFFU);
  EXPECT_EQ(change.params.think_end_id, 77);
  ASSERT_EQ(plan->biases.size(), 2U);
  EXPECT_EQ(plan->biases[1].id, 3);
  EXPECT_EQ(plan->biases[1].bias, 1.5F);
  EXPECT_EQ(plan->counted_ids, FullPlan().counted_ids);
}

TEST(PlanEncodingTest, SamplingComesBackPhaseByPhase) {
  const std::optional<Plan> plan = DecodePlan(EncodePlan(FullPlan()));
  ASSERT_TRUE(plan.has_value());
  const PerPhase<PhaseSampling>& phases = plan->sampling_changes.at(0).params.phases;
  const PhaseSampling& reasoning = phases[Phase::kReasoning];
  EXPECT_EQ(reasoning.temperature, 0.25F);
  EXPECT_EQ(reasoning.top_p, 0.5F);
  EXPECT_EQ(reasoning.min_p, 0.125F);
  EXPECT_EQ(reasoning.top_k, 40);
  EXPECT_EQ(reasoning.repetition_penalty, 1.5F);
  EXPECT_EQ(reasoning.presence_penalty, -0.5F);
  EXPECT_EQ(reasoning.frequency_penalty, 0.75F);
  EXPECT_EQ(reasoning.num_biases, 1);
  EXPECT_EQ(phases[Phase::kAnswer].temperature, 2.0F);
  EXPECT_EQ(phases[Phase::kAnswer].top_k, -1);
}

// What hosts of other builds would have to understand.
TEST(PlanEncodingTest, TheFormIsVersionStepAndArraysLittleEndian) {
  Plan plan;
  plan.step = 0x0102;
  plan.input_ids = {-1};
  plan.biases = {{3, 1.0F}};
  plan.masks = {0x8000000000000002};
  const std::string expected(
      "\x02\x02\x01\0\0\0\0\0\0"            // version, step
      "\0\0\0\0\x01\0\0\0\xff\xff\xff\xff"  // no rows, one input id
      "\0\0\0\0\0\0\0\0"                    // no changes of either kind
      "\x01\0\0\0\x03\0\0\0\0\0\x80\x3f"    // one bias
      "\0\0\0\0\x01\0\0\0"                  // no counted ids, one word of masks
      "\x02\0\0\0\0\0\0\x80",
      57);
  EXPECT_EQ(EncodePlan(plan), expected);
}

TEST(PlanEncodingTest, FloatsKeepTheirBits) {
  Plan plan;
  plan.biases = {{1, -0.0F}, {2, std::nanf("7")}, {3, INFINITY}};
  const std::string bytes = EncodePlan(plan);
  const std::optional<Plan> decoded = DecodePlan(bytes);
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(EncodePlan(*decoded), bytes);
}

TEST(PlanEncodingTest, RefusesAnythingThatIsNotExactlyOnePlan) {
  const std::string bytes = EncodePlan(FullPlan());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodePlan(std::string_view(bytes).substr(0, size)).has_value()) << size;
  }
  EXPECT_FALSE(DecodePlan(bytes + '\0').has_value());
  EXPECT_FALSE(DecodePlan(bytes + bytes).has_value());
  EXPECT_FALSE(DecodePlan("\x01" + bytes.substr(1)).has_value());
}

TEST(PlanEncodingTest, RefusesValuesThatNoPlanHolds) {
  const std::string bytes = EncodePlan(FullPlan());
  constexpr std::size_t kFirstRow = 1 + 8 + 4;
  for (const std::size_t place : {20, 25, 30}) {  // logprob, adjusted, phase
    std::string changed = bytes;
    changed[kFirstRow + place] = 2;
    EXPECT_FALSE(DecodePlan(changed).has_value()) << place;
    changed[kFirstRow + place] = 0;
    EXPECT_TRUE(DecodePlan(changed).has_value()) << place;
  }
}

// A length that the bytes cannot hold is refused before memory is taken for it.
TEST(PlanEncodingTest, RefusesLengthsBeyondTheBytes) {
  const std::string bytes = EncodePlan(FullPlan());
  for (const char* length : {"\xff\xff\xff\xff", "\xff\xff\xff\x7f", "\x03\0\0\0"}) {
    EXPECT_FALSE(
        DecodePlan(bytes.substr(0, 9) + std::string(length, 4) + bytes.substr(13)).has_value());
  }
}

}  // namespace
}  // namespace thinkwire::worker::step
