#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "tests/worker/kernels/op_testing.h"
#include "worker/step/plan.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int32_t kVocab = 50;
constexpr std::int32_t kThinkEnd = 9;
constexpr std::int32_t kSlots = 4;
constexpr step::Phase kReasoning = step::Phase::kReasoning;
constexpr step::Phase kAnswer = step::Phase::kAnswer;
constexpr step::PhaseSampling kPlain = {.temperature = 1, .top_p = 1};

// The slots' tables, and the ops over them for one row a slot.
class AdjustLogitsTest : public OpTest {
 protected:
  void SetUp() override {
    OpTest::SetUp();
    if (IsSkipped()) return;
    counts_ =
        std::make_unique<DeviceInts>(device(), std::vector<std::int32_t>(kSlots * kVocab, kStale));
  }

  void Begin(std::int32_t slot, const std::vector<std::int32_t>& prompt,
             const std::vector<std::int32_t>& drawn, step::Phase phase) {
    std::vector<std::int32_t> ids = {-1};  // lists need not begin at the first
    ids.insert(ids.end(), prompt.begin(), prompt.end());
    ids.insert(ids.end(), drawn.begin(), drawn.end());
    const DeviceInts on_ids(device(), ids);
    const DeviceArray<CountsBegin> begin(device(),
                                         {{slot, 1, static_cast<std::int32_t>(prompt.size()),
                                           static_cast<std::int32_t>(drawn.size()), phase}});
    device().BeginCounts(begin.data(), 1, on_ids.data(), Counts());
    device().Synchronize();
  }

  void SetBiases(std::int32_t slot, step::Phase phase, const std::vector<step::LogitBias>& biases) {
    sampling_[static_cast<std::size_t>(slot)].phases[phase].num_biases =
        static_cast<std::int32_t>(biases.size());
    std::ranges::copy(
        biases, biases_.begin() + (2 * slot + static_cast<int>(phase)) * step::kMaxLogitBiases);
  }

  // `masks` are words of two rows' masks, the second of which is the row's; or empty.
  std::vector<float> Adjust(std::int32_t slot, step::Phase phase, const std::vector<float>& logits,
                            std::int32_t input = 0, const std::vector<step::MaskWord>& masks = {}) {
    std::vector<float> wide = logits;
    wide.push_back(NAN);  // padding
    const Row row(*this, slot, phase, input);
    const DeviceArray<step::LogitBias> biases(device(), biases_);
    const DeviceFloats x(device(), DType::kF32, {1, kVocab + 1}, wide);
    const DeviceFloats y(device(), DType::kF32, {1, kVocab});
    const DeviceInts row_masks(device(), {masks.empty() ? step::kNoMask : 1});
    const DeviceArray<step::MaskWord> words(device(),
                                            masks.empty() ? std::vector<step::MaskWord>(1) : masks);
    device().AdjustLogits(x.tensor(), row.view,
                          {.biases = biases.data(),
                           .counts = Counts(),
                           .row_masks = row_masks.data(),
                           .masks = words.data()},
                          y.tensor());
    return y.Read();
  }

  void Count(std::int32_t slot, step::Phase phase, std::int32_t id, std::int32_t input = 0) {
    const Row row(*this, slot, phase, input);
    const DeviceInts ids(device(), {id});
    device().CountDraws(row.view, ids.tensor(DType::kI32), Counts());
    device().Synchronize();
  }

  static constexpr std::int32_t kStale = -1;

  std::vector<step::SamplingParams> sampling_ = std::vector<step::SamplingParams>(
      kSlots,
      {.phases = {{kPlain, kPlain}}, .seed = 1, .output_index = 0, .think_end_id = kThinkEnd});
  std::vector<step::LogitBias> biases_ = std::vector<step::LogitBias>(
      static_cast<std::size_t>(kSlots * 2 * step::kMaxLogitBiases), {-1, NAN});
  std::unique_ptr<DeviceInts> counts_;

 private:
  // One row of logits as the ops take it.
  struct Row {
    Row(AdjustLogitsTest& test, std::int32_t slot, step::Phase phase, std::int32_t input)
        : slots(test.device(), {slot}),
          inputs(test.device(), {input}),
          phases(test.device(), {phase}),
          sampling(test.device(), test.sampling_),
          view({.num_rows = 1,
                .slots = slots.data(),
                .positions = slots.data(),
                .input_ids = inputs.data(),
                .phases = phases.data(),
                .slot_sampling = sampling.data(),
                .vocab_size = kVocab}) {}

    const DeviceInts slots;
    const DeviceInts inputs;
    const DeviceArray<step::Phase> phases;
    const DeviceArray<step::SamplingParams> sampling;
    const DrawView view;
  };

  Tensor Counts() const { return MakeTensor(counts_->data(), DType::kI32, kSlots, kVocab); }
};

TEST_P(AdjustLogitsTest, BiasIsAddedInItsPhaseAlone) {
  const std::vector<float> logits(kVocab, 1.5F);
  SetBiases(1, kReasoning, {{3, -100.0F}, {40, 2.25F}});
  SetBiases(1, kAnswer, {{5, 0.5F}});
  std::vector<float> expected = logits;
  expected[3] = -98.5F;
  expected[40] = 3.75F;
  EXPECT_EQ(Adjust(1, kReasoning, logits), expected);
  expected = logits;
  expected[5] = 2.0F;
  EXPECT_EQ(Adjust(1, kAnswer, logits), expected);
  EXPECT_EQ(Adjust(1, kReasoning, logits, kThinkEnd), expected) << "after the think-end id";
  EXPECT_EQ(Adjust(2, kReasoning, logits), logits);
}

TEST_P(AdjustLogitsTest, RepetitionDividesPositiveAndMultipliesNegativeLogitsOfPromptAndPhase) {
  step::SamplingParams& slot = sampling_[0];
  slot.phases[kReasoning].repetition_penalty = slot.phases[kAnswer].repetition_penalty = 2.0F;
  Begin(0, {1, 2}, {3}, kReasoning);
  std::vector<float> logits(kVocab, 1.0F);
  logits[2] = logits[5] = -3.0F;
  std::vector<float> expected = logits;
  expected[1] = 0.5F;
  expected[2] = -6.0F;
  expected[3] = 0.5F;
  EXPECT_EQ(Adjust(0, kReasoning, logits), expected);
  Count(0, kReasoning, 5);
  expected[5] = -6.0F;
  EXPECT_EQ(Adjust(0, kReasoning, logits), expected);
  // What the reasoning drew does not count in the answer; the prompt does.
  expected[3] = 1.0F;
  expected[5] = -3.0F;
  EXPECT_EQ(Adjust(0, kAnswer, logits), expected);
}

TEST_P(AdjustLogitsTest, PresenceAndFrequencyCountTheDrawsOfThePhase) {
  step::SamplingParams& slot = sampling_[2];
  for (const step::Phase phase : {kReasoning, kAnswer}) {
    slot.phases[phase].presence_penalty = 0.5F;
    slot.phases[phase].frequency_penalty = 0.25F;
  }
  Begin(2, {1}, {3, 4, 3}, kReasoning);
  const std::vector<float> logits(kVocab, 1.0F);
  std::vector<float> expected = logits;
  expected[3] = 0.0F;
  expected[4] = 0.25F;
  EXPECT_EQ(Adjust(2, kReasoning, logits), expected) << "the prompt does not count";
  Count(2, kReasoning, 4);
  expected[4] = 0.0F;
  EXPECT_EQ(Adjust(2, kReasoning, logits), expected);
  // Drawn after the think-end id: the first of the answer, whose counts begin anew.
  Count(2, kReasoning, 7, kThinkEnd);
  Count(2, kAnswer, 3);
  Count(2, kAnswer, 3);
  expected = logits;
  expected[7] = 0.25F;
  expected[3] = 0.0F;
  EXPECT_EQ(Adjust(2, kAnswer, logits), expected);
  Begin(2, {}, {}, kAnswer);
  EXPECT_EQ(Adjust(2, kAnswer, logits), logits) << "a slot begins anew";
}

TEST_P(AdjustLogitsTest, AppliesBiasThenRepetitionThenFrequencyAndPresence) {
  step::SamplingParams& slot = sampling_[3];
  slot.phases[kReasoning].repetition_penalty = 2.0F;
  slot.phases[kReasoning].frequency_penalty = 0.5F;
  slot.phases[kReasoning].presence_penalty = 0.25F;
  SetBiases(3, kReasoning, {{6, 3.0F}});
  Begin(3, {}, {6, 6}, kReasoning);
  const std::vector<float> logits(kVocab, -1.0F);
  EXPECT_EQ(Adjust(3, kReasoning, logits)[6], (-1.0F + 3.0F) / 2.0F - 2 * 0.5F - 0.25F);
}

TEST_P(AdjustLogitsTest, FiniteStaysFiniteAndWhatIsNotIsLeft) {
  constexpr float kMost = std::numeric_limits<float>::max();
  constexpr float kInf = std::numeric_limits<float>::infinity();
  sampling_[0].phases[kReasoning].repetition_penalty = 1e-3F;
  Begin(0, {0, 1, 2, 3, 4}, {}, kReasoning);
  std::vector<float> logits(kVocab, 0.0F);
  logits[0] = 1e38F;
  logits[1] = kInf;
  logits[2] = NAN;
  logits[4] = -kInf;
  SetBiases(0, kReasoning, {{1, 5.0F}, {2, 5.0F}});
  const std::vector<float> adjusted = Adjust(0, kReasoning, logits);
  EXPECT_EQ(adjusted[0], kMost);
  EXPECT_EQ(adjusted[1], kInf);
  EXPECT_TRUE(std::isnan(adjusted[2]));
  EXPECT_EQ(adjusted[4], -kInf);
  sampling_[0].phases[kReasoning].repetition_penalty = 2.0F;
  logits[0] = -3e38F;
  EXPECT_EQ(Adjust(0, kReasoning, logits)[0], -kMost);
}

TEST_P(AdjustLogitsTest, WhatAMaskDoesNotHoldIsTheLeastWhateverElseIsSaid) {
  std::vector<float> logits(kVocab, 1.5F);
  logits[4] = NAN;
  logits[41] = INFINITY;
  SetBiases(1, kAnswer, {{3, 100.0F}, {40, 2.25F}});
  step::MaskWord mask = 0;
  for (const int id : {0, 40, 49}) mask |= step::MaskWord{1} << id;
  const std::vector<float> adjusted = Adjust(1, kAnswer, logits, 0, {~step::MaskWord{0}, mask});
  for (int id = 0; id < kVocab; ++id) {
    const float x = adjusted[static_cast<std::size_t>(id)];
    if (id == 4 || id == 41) {
      EXPECT_FALSE(std::isfinite(x)) << "a fault is found, whoever may be drawn";
    } else if (id == 0 || id == 40 || id == 49) {
      EXPECT_EQ(x, id == 40 ? 3.75F : 1.5F);
    } else {
      EXPECT_EQ(x, std::numeric_limits<float>::lowest()) << id;
    }
  }
}

TEST_P(AdjustLogitsTest, CountsNothingForSlotsWithoutPenalties) {
  Count(1, kReasoning, 4);
  Count(-1, kReasoning, 4);
  EXPECT_EQ(std::ranges::count(counts_->Read(), kStale), kSlots * kVocab);
}

// Random draws through both phases, against the definition.
TEST_P(AdjustLogitsTest, FollowsTheDefinitionThroughRandomDraws) {
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    step::SamplingParams& slot = sampling_[1];
    for (const step::Phase phase : {kReasoning, kAnswer}) {
      slot.phases[phase].repetition_penalty = round % 3 == 0 ? 1.0F : 1.25F;
      slot.phases[phase].presence_penalty = static_cast<float>(random() % 5) / 4 - 0.5F;
      slot.phases[phase].frequency_penalty = static_cast<float>(random() % 5) / 8;
    }
    std::vector<std::int32_t> prompt;
    for (int i = 0; i < 8; ++i) prompt.push_back(static_cast<std::int32_t>(random() % kVocab));
    const std::set<std::int32_t> in_prompt(prompt.begin(), prompt.end());
    Begin(1, prompt, {}, kReasoning);
    for (const step::Phase phase : {kReasoning, kAnswer}) {
      std::map<std::int32_t, int> times;
      for (int draw = 0; draw < 30; ++draw) {
        const std::vector<float> logits = RandomFloats(kVocab, random(), 3.0F);
        const std::vector<float> adjusted = Adjust(1, phase, logits);
        for (std::int32_t id = 0; id < kVocab; ++id) {
          double expected = logits[static_cast<std::size_t>(id)];
          const int drawn = times.contains(id) ? times[id] : 0;
          const double penalty = slot.phases[phase].repetition_penalty;
          if (drawn > 0 || in_prompt.contains(id)) {
            expected = expected > 0 ? expected / penalty : expected * penalty;
          }
          if (drawn > 0) {
            expected -=
                slot.phases[phase].presence_penalty + drawn * slot.phases[phase].frequency_penalty;
          }
          ASSERT_NEAR(adjusted[static_cast<std::size_t>(id)], expected, 1e-5) << id;
        }
        const auto id = static_cast<std::int32_t>(random() % 10);
        Count(1, phase, id);
        ++times[id];
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, AdjustLogitsTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
