#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <tuple>

#include "tests/worker/kernels/draw_problem.h"
#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/adjust.h"
#include "worker/step/plan.h"

// Draw draws the same ids and logprobs as the twin, bit for bit: from logits of many kinds, with
// every combination of parameters, for few rows and many, whatever the vocabulary's size. Logprobs
// reports the same of the same logits, AdjustLogits adjusts them alike.
namespace thinkwire::worker::kernels {
namespace {

struct Drawn {
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;
  std::vector<std::int32_t> not_finite;
  std::vector<std::int32_t> last_drawn;
};

// Outputs hold what no draw writes until one does.
Drawn Draw(Backend& backend, const DrawProblem& p) {
  const auto rows = static_cast<std::size_t>(p.rows);
  const DeviceArray<float> logits(backend, p.logits);
  const DeviceInts slots(backend, p.slots);
  const DeviceInts positions(backend, p.positions);
  const DeviceInts input_ids(backend, p.input_ids);
  const DeviceArray<step::Phase> phases(backend, p.phases);
  const DeviceArray<step::SamplingParams> sampling(backend, p.sampling);
  const DeviceInts ids(backend, std::vector<std::int32_t>(rows, -7));
  const DeviceArray<float> logprobs(backend, std::vector<float>(rows, 7));
  const DeviceInts not_finite(backend, std::vector<std::int32_t>(rows, -7));
  const DeviceInts last(backend, std::vector<std::int32_t>(p.sampling.size(), -7));
  const DrawView view = {.num_rows = p.rows,
                         .slots = slots.data(),
                         .positions = positions.data(),
                         .input_ids = input_ids.data(),
                         .phases = phases.data(),
                         .slot_sampling = sampling.data(),
                         .vocab_size = p.vocab_size};
  backend.Draw(MakeTensor(logits.data(), DType::kF32, p.rows, p.width), view,
               MakeTensor(ids.data(), DType::kI32, p.rows),
               MakeTensor(logprobs.data(), DType::kF32, p.rows),
               MakeTensor(not_finite.data(), DType::kI32, p.rows),
               MakeTensor(last.data(), DType::kI32, p.rows + 2));
  return {ids.Read(), logprobs.Read(), not_finite.Read(), last.Read()};
}

// What Logprobs gives of the problem at every row's greatest, or some other, id.
struct Reported {
  std::vector<float> logprobs;
  std::vector<std::int32_t> ids;
  std::vector<float> alternatives;
};

Reported Report(Backend& backend, const DrawProblem& p) {
  const auto rows = static_cast<std::size_t>(p.rows);
  const std::size_t most = rows * static_cast<std::size_t>(step::kMaxAlternatives);
  std::vector<std::int32_t> asked;
  std::vector<std::int32_t> counts;
  for (std::int32_t l = 0; l < p.rows; ++l) {
    asked.push_back(p.positions[static_cast<std::size_t>(l)] % p.vocab_size);
    counts.push_back(std::min(p.vocab_size, l % 4 == 3 ? l % 8 : step::kMaxAlternatives));
  }
  const DeviceArray<float> logits(backend, p.logits);
  const DeviceInts slots(backend, p.slots);
  const DeviceInts ids(backend, asked);
  const DeviceInts num_alternatives(backend, counts);
  const DeviceArray<float> logprobs(backend, std::vector<float>(rows, 7));
  const DeviceInts alternative_ids(backend, std::vector<std::int32_t>(most, -7));
  const DeviceArray<float> alternatives(backend, std::vector<float>(most, 7));
  backend.Logprobs(MakeTensor(logits.data(), DType::kF32, p.rows, p.width),
                   {.slots = slots.data(),
                    .ids = ids.data(),
                    .num_alternatives = num_alternatives.data(),
                    .num_rows = p.rows,
                    .vocab_size = p.vocab_size,
                    .logprobs = logprobs.data(),
                    .alternative_ids = alternative_ids.data(),
                    .alternative_logprobs = alternatives.data()});
  return {logprobs.Read(), alternative_ids.Read(), alternatives.Read()};
}

// What AdjustLogits gives of the problem for slots with random biases, penalties and counts, and
// the counts after a draw of each row.
struct AdjustedLogits {
  std::vector<float> logits;
  std::vector<std::int32_t> counts;
};

// What adjusts a problem's logits: biases, counts begun anew, and what is counted then.
struct Adjustments {
  std::vector<step::LogitBias> biases;
  std::vector<CountsBegin> begins;
  std::vector<std::int32_t> counted;
  std::vector<std::int32_t> draws;  // by row
  std::vector<std::int32_t> row_masks;
  std::vector<step::MaskWord> masks;
};

// Random ones, for whose penalties the problem's parameters change.
Adjustments RandomAdjustments(DrawProblem& p) {
  std::mt19937 random(77);
  const auto uniform = [&] { return std::uniform_real_distribution<float>(0, 1)(random); };
  const auto id = [&] { return static_cast<std::int32_t>(random() % 1000) % p.vocab_size; };
  Adjustments a;
  a.biases.assign(p.sampling.size() * 2 * step::kMaxLogitBiases, {-1, NAN});
  for (std::int32_t slot = 0; slot < static_cast<std::int32_t>(p.sampling.size()); ++slot) {
    for (const step::Phase phase : {step::Phase::kReasoning, step::Phase::kAnswer}) {
      step::PhaseSampling& sampling = p.sampling[static_cast<std::size_t>(slot)].phases[phase];
      if (random() % 3 != 0) sampling.repetition_penalty = 0.5F + uniform();
      if (random() % 3 == 0) sampling.presence_penalty = uniform();
      if (random() % 3 == 0) sampling.frequency_penalty = -uniform();
      const std::int32_t step = 1 + p.vocab_size / step::kMaxLogitBiases;
      const auto list =
          static_cast<std::size_t>((2 * slot + static_cast<int>(phase)) * step::kMaxLogitBiases);
      for (std::int32_t i = 0; random() % 4 != 0 && i < p.vocab_size; i += step) {
        a.biases[list + static_cast<std::size_t>(sampling.num_biases++)] = {i,
                                                                            200 * uniform() - 100};
      }
    }
    const auto num_prompt = static_cast<std::int32_t>(random() % 300);
    const auto num_drawn = static_cast<std::int32_t>(random() % 3000);
    a.begins.push_back({.slot = slot,
                        .first = static_cast<std::int32_t>(a.counted.size()),
                        .num_prompt = num_prompt,
                        .num_drawn = num_drawn,
                        .phase = static_cast<step::Phase>(random() % 2)});
    for (std::int32_t i = 0; i < num_prompt + num_drawn; ++i) a.counted.push_back(id());
  }
  std::int32_t num_masks = 0;
  for (std::int32_t l = 0; l < p.rows; ++l) {
    a.draws.push_back(id());
    a.row_masks.push_back(random() % 2 == 0 ? num_masks++ : step::kNoMask);
  }
  a.masks.resize(static_cast<std::size_t>(num_masks) * step::NumMaskWords(p.vocab_size) + 1);
  for (step::MaskWord& word : a.masks) word = std::uint64_t{random()} << 32 | random();
  return a;
}

AdjustedLogits AdjustAndCount(Backend& backend, DrawProblem p) {
  const Adjustments a = RandomAdjustments(p);
  const auto num_slots = static_cast<std::int32_t>(p.sampling.size());
  const auto columns = static_cast<std::size_t>(p.vocab_size);
  const DeviceArray<float> logits(backend, p.logits);
  const DeviceInts slots(backend, p.slots);
  const DeviceInts input_ids(backend, p.input_ids);
  const DeviceArray<step::Phase> phases(backend, p.phases);
  const DeviceArray<step::SamplingParams> sampling(backend, p.sampling);
  const DeviceArray<step::LogitBias> biases(backend, a.biases);
  const DeviceArray<CountsBegin> begins(backend, a.begins);
  const DeviceInts counted(backend, a.counted);
  const DeviceInts draws(backend, a.draws);
  const DeviceInts row_masks(backend, a.row_masks);
  const DeviceArray<step::MaskWord> masks(backend, a.masks);
  const DeviceInts words(backend, std::vector<std::int32_t>(p.sampling.size() * columns, -7));
  const DeviceArray<float> adjusted(
      backend, std::vector<float>(static_cast<std::size_t>(p.rows) * columns, 7));
  const DrawView view = {.num_rows = p.rows,
                         .slots = slots.data(),
                         .positions = nullptr,
                         .input_ids = input_ids.data(),
                         .phases = phases.data(),
                         .slot_sampling = sampling.data(),
                         .vocab_size = p.vocab_size};
  const Tensor counts = MakeTensor(words.data(), DType::kI32, num_slots, p.vocab_size);
  backend.BeginCounts(begins.data(), num_slots, counted.data(), counts);
  backend.CountDraws(view, draws.tensor(DType::kI32), counts);
  backend.AdjustLogits(MakeTensor(logits.data(), DType::kF32, p.rows, p.width), view,
                       {.biases = biases.data(),
                        .counts = counts,
                        .row_masks = row_masks.data(),
                        .masks = masks.data()},
                       MakeTensor(adjusted.data(), DType::kF32, p.rows, p.vocab_size));
  return {adjusted.Read(), words.Read()};
}

// A device and a kind of logits.
class DrawTwinTest : public testing::TestWithParam<std::tuple<TestedDevice, LogitsKind>> {
 protected:
  void SetUp() override {
    std::string why_none;
    device_ = Open(tested(), &why_none);
    if (device_ == nullptr) GTEST_SKIP() << why_none;
    twin_ = tested().twin();
  }

  const TestedDevice& tested() const { return std::get<0>(GetParam()); }
  const LogitsKind& kind() const { return std::get<1>(GetParam()); }
  // Fewer where the device is its own twin.
  std::int32_t Rows(std::int32_t rows) const { return tested().is_own_twin ? rows / 16 + 1 : rows; }

  void ExpectEqual(const DrawProblem& p) {
    const Drawn want = Draw(*twin_, p);
    const Drawn got = Draw(*device_, p);
    EXPECT_EQ(got.ids, want.ids);
    EXPECT_TRUE(SameBits(got.logprobs, want.logprobs));
    EXPECT_EQ(got.not_finite, want.not_finite);
    EXPECT_EQ(got.last_drawn, want.last_drawn);
    const Reported want_reported = Report(*twin_, p);
    const Reported got_reported = Report(*device_, p);
    EXPECT_EQ(got_reported.ids, want_reported.ids);
    EXPECT_TRUE(SameBits(got_reported.logprobs, want_reported.logprobs));
    EXPECT_TRUE(SameBits(got_reported.alternatives, want_reported.alternatives));
  }

  std::unique_ptr<Backend> device_;
  std::unique_ptr<Backend> twin_;
};

TEST_P(DrawTwinTest, DrawsWhatItsTwinDrawsForManyRows) {
  for (const std::int32_t vocab_size : {1, 5, 127, 1000, 32000}) {
    SCOPED_TRACE(vocab_size);
    ExpectEqual(MakeDrawProblem(kind(), Rows(128), vocab_size, vocab_size + 3, 1));
  }
}

TEST_P(DrawTwinTest, DrawsWhatItsTwinDrawsForFewRows) {
  for (const std::int32_t vocab_size : {1, 5, 127, 1000, 32000, 151936}) {
    for (std::size_t first = 0; first < NumCombinations(vocab_size);
         first += tested().is_own_twin ? 51 : 17) {
      SCOPED_TRACE(testing::Message() << vocab_size << " columns, combination " << first);
      ExpectEqual(MakeDrawProblem(kind(), 1, vocab_size, vocab_size, 2, first));
    }
    ExpectEqual(MakeDrawProblem(kind(), 3, vocab_size, vocab_size + 1, 3, 60));
  }
}

TEST_P(DrawTwinTest, DrawsWhatItsTwinDrawsFromLargeVocabularies) {
  ExpectEqual(MakeDrawProblem(kind(), Rows(128), 151936, 151936, 4));
  ExpectEqual(MakeDrawProblem(kind(), Rows(64), 151643, 152064, 5, 60));
}

TEST_P(DrawTwinTest, DrawsFromMoreColumnsThanFitInACluster) {
  ExpectEqual(MakeDrawProblem(kind(), Rows(9), 500000, 500000, 6, 48));
}

TEST_P(DrawTwinTest, KeepsTheLastDrawOfASlotWithSeveralRows) {
  DrawProblem p = MakeDrawProblem(kind(), Rows(128), 1000, 1003, 9);
  for (std::size_t l = 1; l < p.slots.size(); ++l) {
    if (l % 4 == 1 || l % 4 == 2) p.slots[l] = p.slots[l - 1];
  }
  ExpectEqual(p);
}

TEST_P(DrawTwinTest, DrawsWhatItsTwinDrawsOfWhatMasksLeave) {
  for (const std::int32_t vocab_size : {5, 1000, 151936}) {
    SCOPED_TRACE(vocab_size);
    DrawProblem p = MakeDrawProblem(kind(), Rows(64), vocab_size, vocab_size + 3, 10);
    std::mt19937 random(3);
    for (std::int32_t l = 0; l < p.rows; ++l) {
      const std::uint32_t share = std::vector<std::uint32_t>{2, 100, 100000}[random() % 3];
      const std::uint32_t sure = random() % static_cast<std::uint32_t>(vocab_size);
      for (std::int32_t i = 0; i < vocab_size; ++i) {
        if (static_cast<std::uint32_t>(i) == sure || random() % share == 0) continue;
        float& x = p.logits[static_cast<std::size_t>(l * p.width + i)];
        const step::MaskWord none[1] = {0};
        x = Masked(x, none, 0);
      }
    }
    ExpectEqual(p);
  }
}

TEST_P(DrawTwinTest, AdjustsAndCountsAsItsTwinDoes) {
  for (const std::int32_t vocab_size : {1, 5, 2048, 2049, 32000}) {
    SCOPED_TRACE(vocab_size);
    const DrawProblem p = MakeDrawProblem(kind(), 40, vocab_size, vocab_size + 3, 8);
    const AdjustedLogits want = AdjustAndCount(*twin_, p);
    const AdjustedLogits got = AdjustAndCount(*device_, p);
    EXPECT_EQ(got.counts, want.counts);
    // NaNs keep no payload on every device, so not finite is compared as such.
    for (std::size_t i = 0; i < want.logits.size(); ++i) {
      if (std::isnan(want.logits[i])) {
        ASSERT_TRUE(std::isnan(got.logits[i])) << i;
      } else {
        ASSERT_TRUE(SameBits({got.logits[i]}, {want.logits[i]})) << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, DrawTwinTest,
                         testing::Combine(testing::ValuesIn(TestedDevices()),
                                          testing::ValuesIn(LogitsKinds().begin(),
                                                            LogitsKinds().end())),
                         [](const auto& info) {
                           return std::get<0>(info.param).name + "_" + std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace thinkwire::worker::kernels
