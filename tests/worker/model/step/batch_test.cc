#include "worker/model/step/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/fakes/async_backend.h"
#include "worker/kernels/adjust.h"
#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::model {
namespace {

using testing::Each;
using testing::ElementsAre;

step::Limits Limits() {
  step::Limits limits;
  limits.max_num_seqs = 8;
  limits.max_num_batched_tokens = 32;
  limits.max_model_len = 64;
  limits.block_tokens = 16;
  limits.num_blocks = 32;
  limits.max_in_flight = 2;
  limits.vocab_size = 100;
  return limits;
}

// The CPU's device memory is the host's.
template <class T>
std::vector<T> Read(const T* data, std::int64_t size) {
  return {data, data + size};
}

std::vector<std::int32_t> Ids(const Batch& batch) {
  return Read(batch.ids().as<std::int32_t>(), batch.num_tokens());
}

// Last sampled ids 50, 51, … of the slots.
class BatchTest : public testing::Test {
 protected:
  BatchTest() {
    for (std::int32_t slot = 0; slot < Limits().max_num_seqs; ++slot) last_.push_back(50 + slot);
  }

  void Load(const step::Plan& plan, std::int32_t bucket = 0) {
    batch_.Load(plan, bucket);
    batch_.GatherIds(kernels::MakeTensor(last_.data(), kernels::DType::kI32, 8));
  }

  std::vector<std::int32_t> last_;
  kernels::CpuBackend backend_{1};
  Batch batch_{Limits(), backend_};
};

constexpr step::Phase kReasoning = step::Phase::kReasoning;
constexpr step::Phase kAnswer = step::Phase::kAnswer;

step::Plan DecodePlan() {
  step::Plan plan;
  plan.input_ids = {7};
  plan.rows.push_back({.slot = 5,
                       .first_position = 30,
                       .first_id = step::kLastDrawn,
                       .draws = 1,
                       .phase = kAnswer});
  plan.rows.push_back({.slot = 2, .first_position = 9, .first_id = 0, .draws = 1});
  plan.rows.push_back({.slot = 3, .first_position = 4, .first_id = step::kLastDrawn, .draws = 1});
  return plan;
}

TEST_F(BatchTest, LaysRowsOutTokenByToken) {
  step::Plan plan;
  plan.input_ids = {11, 12, 13, 14};
  plan.rows.push_back({.slot = 4, .first_position = 2, .count = 3, .first_id = 1, .draws = 1});
  plan.rows.push_back({.slot = 1, .first_position = 7, .first_id = step::kLastDrawn});
  plan.rows.push_back(
      {.slot = 6, .first_position = 8, .first_id = step::kLastDrawn, .draws = 1, .phase = kAnswer});
  Load(plan);
  const kernels::BatchView& view = batch_.view();
  ASSERT_EQ(view.num_tokens, 5);
  ASSERT_EQ(view.num_seqs, 3);
  ASSERT_EQ(batch_.num_logits(), 2);
  EXPECT_THAT(Ids(batch_), ElementsAre(12, 13, 14, 51, 56));
  EXPECT_THAT(Read(view.positions, 5), ElementsAre(2, 3, 4, 7, 8));
  EXPECT_THAT(Read(view.token_seq, 5), ElementsAre(0, 0, 0, 1, 2));
  EXPECT_THAT(Read(view.query_start, 4), ElementsAre(0, 3, 4, 5));
  EXPECT_THAT(Read(view.seq_slot, 3), ElementsAre(4, 1, 6));
  EXPECT_THAT(Read(batch_.logit_tokens().as<std::int32_t>(), 2), ElementsAre(2, 4));
  const kernels::DrawView draw = batch_.draw_view();
  EXPECT_THAT(Read(draw.slots, 2), ElementsAre(4, 6));
  EXPECT_THAT(Read(draw.positions, 2), ElementsAre(5, 9));
  EXPECT_THAT(Read(draw.input_ids, 2), ElementsAre(14, 56));
  EXPECT_THAT(Read(draw.phases, 2), ElementsAre(kReasoning, kAnswer));
}

TEST_F(BatchTest, PadsADecodeUpToItsBucket) {
  Load(DecodePlan(), 5);
  const kernels::BatchView& view = batch_.view();
  ASSERT_EQ(view.num_tokens, 5);
  ASSERT_EQ(view.num_seqs, 5);
  ASSERT_EQ(batch_.num_logits(), 5);
  EXPECT_THAT(Ids(batch_), ElementsAre(55, 7, 53, 0, 0));
  EXPECT_THAT(Read(view.positions, 5), ElementsAre(30, 9, 4, 0, 0));
  EXPECT_THAT(Read(view.token_seq, 5), ElementsAre(0, 1, 2, -1, -1));
  EXPECT_THAT(Read(view.query_start, 6), ElementsAre(0, 1, 2, 3, 3, 3));
  EXPECT_THAT(Read(view.seq_slot, 5), ElementsAre(5, 2, 3, 0, 0));
  const kernels::DrawView draw = batch_.draw_view();
  EXPECT_THAT(Read(draw.slots, 5), ElementsAre(5, 2, 3, -1, -1));
  EXPECT_THAT(Read(draw.positions, 5), ElementsAre(31, 10, 5, 0, 0));
  EXPECT_THAT(Read(draw.input_ids, 5), ElementsAre(55, 7, 53, 0, 0));
  EXPECT_THAT(Read(draw.phases, 5),
              ElementsAre(kAnswer, kReasoning, kReasoning, kReasoning, kReasoning));
}

TEST_F(BatchTest, MasksGoWithTheirRows) {
  step::Plan plan = DecodePlan();
  const std::size_t words = step::NumMaskWords(Limits().vocab_size);
  plan.rows[0].mask = 1;
  plan.rows[2].mask = 0;
  plan.masks.assign(2 * words, 0);
  plan.masks[0] = 0xFEDCBA9876543210;
  plan.masks[2 * words - 1] = 0x1;
  Load(plan, 5);
  EXPECT_EQ(batch_.kind(), DrawKind::kAdjusted);
  const kernels::AdjustView view = batch_.adjust_view();
  EXPECT_THAT(Read(view.row_masks, 5),
              ElementsAre(1, step::kNoMask, 0, step::kNoMask, step::kNoMask));
  EXPECT_EQ(Read(view.masks, static_cast<std::int64_t>(2 * words)), plan.masks);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(view.masks) % sizeof(step::MaskWord), 0U);
}

TEST_F(BatchTest, FixesTheArraysPlacesByTheShape) {
  const auto places = [this] {
    const kernels::BatchView& view = batch_.view();
    const kernels::DrawView draw = batch_.draw_view();
    return std::vector<const void*>{view.positions, view.token_seq,    view.query_start,
                                    view.seq_slot,  view.block_tables, batch_.ids().data,
                                    draw.slots,     draw.positions,    draw.input_ids,
                                    draw.phases,    draw.slot_sampling};
  };
  batch_.LoadPadding(4, 4, 4);
  const std::vector<const void*> recorded = places();
  batch_.LoadPadding(32, 8, 8);
  step::Plan plan = DecodePlan();
  plan.block_table_changes.push_back({.slot = 1, .index = 1, .block = 1});
  Load(plan, 4);
  EXPECT_EQ(places(), recorded);
}

TEST_F(BatchTest, PaddingAloneNamesNoSequence) {
  Load(DecodePlan());
  batch_.LoadPadding(20, 8, 8);
  const kernels::BatchView& view = batch_.view();
  EXPECT_EQ(view.num_tokens, 20);
  EXPECT_EQ(view.num_seqs, 8);
  EXPECT_EQ(batch_.num_logits(), 8);
  EXPECT_THAT(Read(view.token_seq, 20), Each(-1));
  EXPECT_THAT(Read(view.query_start, 9), Each(0));
  EXPECT_THAT(Read(batch_.draw_view().slots, 8), Each(-1));
}

TEST_F(BatchTest, KeepsTheSlotsTables) {
  step::Plan plan = DecodePlan();
  plan.block_table_changes = {{2, 0, 9}, {5, 3, 31}, {2, 1, 8}};
  step::SamplingParams params;
  params.phases[kReasoning] = {.temperature = 0.25F, .top_p = 0.5F, .min_p = 0.125F, .top_k = 40};
  params.phases[kAnswer] = {.temperature = 2.0F, .top_p = 1.0F, .min_p = 0.0F, .top_k = 0};
  params.seed = 0x123456789abcdef0ULL;
  params.output_index = 3;
  params.think_end_id = 77;
  params.phases[kReasoning].presence_penalty = -0.5F;
  params.phases[kAnswer].repetition_penalty = 1.5F;
  params.phases[kAnswer].frequency_penalty = 0.75F;
  params.phases[kAnswer].num_biases = 2;
  plan.biases = {{3, 1.5F}, {99, -100.0F}, {3, 1.5F}, {99, -100.0F}};
  plan.sampling_changes = {{.slot = 5,
                            .params = params,
                            .first_counted = 1,
                            .num_prompt = 2,
                            .num_drawn = 3,
                            .phase = kAnswer},
                           {.slot = 0, .params = params, .first_bias = 2}};
  plan.counted_ids = {98, 7, 8, 8, 9, 9};
  Load(plan);
  Load(DecodePlan(), 8);  // changes nothing
  const std::int32_t* tables = batch_.view().block_tables;
  ASSERT_EQ(batch_.view().max_blocks, 4);
  EXPECT_THAT(Read(tables + 2 * 4, 4), ElementsAre(9, 8, 0, 0));
  EXPECT_THAT(Read(tables + 5 * 4, 4), ElementsAre(0, 0, 0, 31));
  for (const int index : {0, 5}) {
    const step::SamplingParams& slot = batch_.draw_view().slot_sampling[index];
    EXPECT_EQ(slot.phases[kReasoning].temperature, 0.25F);
    EXPECT_EQ(slot.phases[kAnswer].temperature, 2.0F);
    EXPECT_EQ(slot.phases[kReasoning].top_p, 0.5F);
    EXPECT_EQ(slot.phases[kAnswer].top_p, 1.0F);
    EXPECT_EQ(slot.phases[kReasoning].min_p, 0.125F);
    EXPECT_EQ(slot.phases[kAnswer].min_p, 0.0F);
    EXPECT_EQ(slot.phases[kReasoning].top_k, 40);
    EXPECT_EQ(slot.phases[kAnswer].top_k, 0);
    EXPECT_EQ(slot.seed, params.seed);
    EXPECT_EQ(slot.output_index, 3U);
    EXPECT_EQ(slot.think_end_id, 77);
    EXPECT_EQ(slot.phases[kReasoning].presence_penalty, -0.5F);
    EXPECT_EQ(slot.phases[kAnswer].presence_penalty, 0.0F);
    EXPECT_EQ(slot.phases[kReasoning].repetition_penalty, 1.0F);
    EXPECT_EQ(slot.phases[kAnswer].repetition_penalty, 1.5F);
    EXPECT_EQ(slot.phases[kReasoning].frequency_penalty, 0.0F);
    EXPECT_EQ(slot.phases[kAnswer].frequency_penalty, 0.75F);
    EXPECT_EQ(slot.phases[kReasoning].num_biases, 0);
    EXPECT_EQ(slot.phases[kAnswer].num_biases, 2);
    const step::LogitBias* biases =
        batch_.adjust_view().biases + (2 * index + 1) * step::kMaxLogitBiases;
    EXPECT_EQ(biases[0].id, 3);
    EXPECT_EQ(biases[0].bias, 1.5F);
    EXPECT_EQ(biases[1].id, 99);
    EXPECT_EQ(biases[1].bias, -100.0F);
  }
  const auto* const counts = batch_.adjust_view().counts.as<std::uint32_t>();
  for (std::uint32_t id = 0; id < 100; ++id) {
    const std::uint32_t word = counts[5 * 100 + id];
    EXPECT_EQ((word & kernels::kInPrompt) != 0, id == 7 || id == 8) << id;
    EXPECT_EQ(kernels::TimesDrawn(word, kAnswer), id == 8 ? 1U : id == 9 ? 2U : 0U) << id;
    EXPECT_EQ(kernels::TimesDrawn(word, kReasoning), 0U) << id;
    EXPECT_EQ(counts[id], 0U) << id;
  }
  EXPECT_EQ(batch_.draw_view().slot_sampling[1].seed, 0U);
}

// Slots may share blocks, so that the tables hold more than there are.
TEST(BatchSharedBlocksTest, OnePlanMayFillEveryTable) {
  step::Limits limits = Limits();
  limits.num_blocks = 2;
  kernels::CpuBackend backend(1);
  Batch batch(limits, backend);
  step::Plan plan = DecodePlan();
  for (std::int32_t slot = 0; slot < limits.max_num_seqs; ++slot) {
    plan.sampling_changes.push_back({slot, {}});
    for (std::int32_t index = 0; index < 4; ++index) {
      plan.block_table_changes.push_back({slot, index, (slot + index) % 2});
    }
  }
  batch.Load(plan);
  const std::int32_t* tables = batch.view().block_tables;
  EXPECT_THAT(Read(tables, 4), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(Read(tables + 7 * 4, 4), ElementsAre(1, 0, 1, 0));
}

TEST_F(BatchTest, SaysWhatItsRowsWantBeyondADraw) {
  step::Plan plan = DecodePlan();
  Load(plan, 4);
  EXPECT_EQ(batch_.kind(), DrawKind::kPlain);
  plan.rows[1].alternatives = 7;
  Load(plan, 4);
  EXPECT_EQ(batch_.kind(), DrawKind::kReported);
  EXPECT_THAT(Read(batch_.logprobs_view().num_alternatives, 4), ElementsAre(0, 7, 0, 0));
  EXPECT_THAT(Read(batch_.logprobs_view().slots, 4), ElementsAre(5, 2, 3, -1));
  plan.rows[1].alternatives = 0;
  plan.rows[2].adjusted = true;
  Load(plan);
  EXPECT_EQ(batch_.kind(), DrawKind::kAdjusted);
  plan.rows[1].alternatives = 7;
  Load(plan);
  EXPECT_EQ(batch_.kind(), DrawKind::kAdjusted);
  batch_.LoadPadding(4, 4, 4);
  EXPECT_EQ(batch_.kind(), DrawKind::kPlain);
}

TEST_F(BatchTest, LaysALogitsRowForEachTokenThatADrawFollows) {
  step::Plan plan;
  plan.input_ids = {11, 12, 13, 14, 15, 16};
  plan.rows = {{.slot = 4, .first_position = 2, .count = 4, .first_id = 0, .draws = 3},
               {.slot = 1, .first_position = 7, .first_id = step::kLastDrawn, .draws = 1},
               {.slot = 6, .first_position = 8, .count = 2, .first_id = 4, .draws = 2}};
  plan.rows[0].alternatives = 5;
  Load(plan);
  ASSERT_EQ(batch_.num_tokens(), 7);
  ASSERT_EQ(batch_.num_logits(), 6);
  EXPECT_THAT(Ids(batch_), ElementsAre(11, 12, 13, 14, 51, 15, 16));
  EXPECT_THAT(Read(batch_.logit_tokens().as<std::int32_t>(), 6), ElementsAre(1, 2, 3, 4, 5, 6));
  const kernels::DrawView draw = batch_.draw_view();
  EXPECT_EQ(draw.num_rows, 6);
  EXPECT_THAT(Read(draw.slots, 6), ElementsAre(4, 4, 4, 1, 6, 6));
  EXPECT_THAT(Read(draw.positions, 6), ElementsAre(4, 5, 6, 8, 9, 10));
  EXPECT_THAT(Read(draw.input_ids, 6), ElementsAre(12, 13, 14, 51, 15, 16));
  EXPECT_THAT(Read(batch_.logprobs_view().num_alternatives, 6), ElementsAre(5, 5, 5, 0, 0, 0));
}

// A draw's own input is the device's to look at.
TEST_F(BatchTest, DrawsBehindAThinkEndInputAreTheAnswers) {
  step::Plan plan;
  step::SamplingParams params;
  params.think_end_id = 12;
  plan.sampling_changes = {{.slot = 4, .params = params}};
  plan.input_ids = {12, 11, 12, 13, 14};
  plan.rows = {{.slot = 4, .count = 5, .first_id = 0, .draws = 4},
               {.slot = 1, .count = 5, .first_id = 0, .draws = 4}};
  Load(plan);
  EXPECT_THAT(Read(batch_.draw_view().phases, 8),
              ElementsAre(kReasoning, kReasoning, kAnswer, kAnswer, kReasoning, kReasoning,
                          kReasoning, kReasoning));
}

// As many draws as tokens: Decoder takes the tokens' rows as they are.
TEST_F(BatchTest, WhereEveryTokenIsFollowedByADrawTheyAreInOrder) {
  step::Plan plan;
  plan.input_ids = {11, 12, 13};
  plan.rows = {{.slot = 4, .count = 3, .first_id = 0, .draws = 3},
               {.slot = 1, .first_position = 7, .first_id = step::kLastDrawn, .draws = 1}};
  Load(plan);
  ASSERT_EQ(batch_.num_logits(), batch_.num_tokens());
  EXPECT_THAT(Read(batch_.logit_tokens().as<std::int32_t>(), 4), ElementsAre(0, 1, 2, 3));
}

TEST(BatchCopyTest, OneCopyAStepAndAScatterForWhatChanges) {
  kernels::AsyncBackend backend(1, false);
  Batch batch(Limits(), backend);
  step::Plan plan = DecodePlan();
  const auto given = [&] {
    const std::uint64_t before = backend.num_given();
    batch.Load(plan);
    return backend.num_given() - before;
  };
  EXPECT_EQ(given(), 1U);
  plan.block_table_changes.push_back({0, 0, 1});
  EXPECT_EQ(given(), 2U);
  plan.sampling_changes.push_back({0, {}});
  EXPECT_EQ(given(), 3U);
  backend.Synchronize();  // the batch must outlive its work
}

TEST(BatchMaxDrawsTest, APlanMayDrawMoreTokensThanThereAreSlots) {
  step::Limits limits = Limits();
  limits.max_draws = limits.max_num_batched_tokens;
  kernels::CpuBackend backend(1);
  Batch batch(limits, backend);
  step::Plan plan;
  for (std::int32_t id = 0; id < 32; ++id) plan.input_ids.push_back(id);
  plan.rows = {{.slot = 4, .count = 32, .first_id = 0, .draws = 32}};
  batch.Load(plan);
  EXPECT_EQ(batch.num_logits(), 32);
  EXPECT_THAT(Read(batch.draw_view().slots, 32), Each(4));
}

TEST(BatchDeathTest, RefusesAPlanThatPassesTheLimits) {
  kernels::CpuBackend backend(1);
  Batch batch(Limits(), backend);
  step::Plan plan = DecodePlan();
  EXPECT_DEATH(batch.Load(plan, 2), "decodes alone, and fits");
  plan.rows[0].draws = 0;
  EXPECT_DEATH(batch.Load(plan, 4), "decodes alone, and fits");
  plan.rows[0].slot = 8;
  EXPECT_DEATH(batch.Load(plan), "slot is out of range");
  plan = DecodePlan();
  plan.rows[1].draws = 2;
  EXPECT_DEATH(batch.Load(plan), "draws after inputs that it has");
  plan.input_ids = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  plan.rows[1].count = 9;
  plan.rows[1].draws = 7;
  EXPECT_DEATH(batch.Load(plan), "passes max_draws");
  plan.rows[1].draws = 2;
  plan.rows[1].adjusted = true;
  EXPECT_DEATH(batch.Load(plan), "several tokens is not adjusted");
}

}  // namespace
}  // namespace thinkwire::worker::model
