#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/adjust.h"
#include "worker/kernels/noise.h"

namespace thinkwire::worker::kernels {
namespace {

struct Drawn {
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;
  std::vector<std::int32_t> not_finite;
  std::vector<std::int32_t> last_drawn;
};

struct RowSpec {
  std::int32_t slot = 0;
  std::int32_t position = 0;
  std::int32_t input_id = 0;
  step::Phase phase = step::Phase::kReasoning;
};

step::SamplingParams Slot(float temperature, std::int32_t top_k = 0, float top_p = 1,
                          float min_p = 0, std::uint64_t seed = 1) {
  const step::PhaseSampling phase = {
      .temperature = temperature, .top_p = top_p, .min_p = min_p, .top_k = top_k};
  return {.phases = {{phase, phase}}, .seed = seed, .output_index = 0, .think_end_id = -1};
}

Drawn Draw(Backend& backend, const std::vector<float>& logits, std::int64_t width,
           std::int32_t vocab_size, const std::vector<RowSpec>& rows,
           const std::vector<step::SamplingParams>& slots) {
  const auto n = static_cast<std::int64_t>(rows.size());
  std::vector<std::int32_t> slot_of;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> input_ids;
  std::vector<step::Phase> phases;
  for (const RowSpec& row : rows) {
    slot_of.push_back(row.slot);
    positions.push_back(row.position);
    input_ids.push_back(row.input_id);
    phases.push_back(row.phase);
  }
  const DeviceInts on_slots(backend, slot_of);
  const DeviceInts on_positions(backend, positions);
  const DeviceInts on_inputs(backend, input_ids);
  const DeviceArray<step::Phase> on_phases(backend, phases);
  const DeviceArray<step::SamplingParams> sampling(backend, slots);
  const DeviceFloats x(backend, DType::kF32, {n, width}, logits);
  const DeviceInts ids(backend, std::vector<std::int32_t>(rows.size(), -7));
  const DeviceFloats logprobs(backend, DType::kF32, {n});
  const DeviceInts not_finite(backend, std::vector<std::int32_t>(rows.size(), -7));
  const DeviceInts last(backend, std::vector<std::int32_t>(slots.size(), -7));
  backend.Draw(x.tensor(),
               {.num_rows = static_cast<std::int32_t>(n),
                .slots = on_slots.data(),
                .positions = on_positions.data(),
                .input_ids = on_inputs.data(),
                .phases = on_phases.data(),
                .slot_sampling = sampling.data(),
                .vocab_size = vocab_size},
               ids.tensor(DType::kI32), logprobs.tensor(), not_finite.tensor(DType::kI32),
               last.tensor(DType::kI32));
  return {ids.Read(), logprobs.Read(), not_finite.Read(), last.Read()};
}

// Draws one row of logits at positions 0 .. count - 1.
std::vector<std::int32_t> DrawMany(Backend& backend, const std::vector<float>& logits,
                                   std::int32_t count, const step::SamplingParams& slot) {
  std::vector<float> all;
  std::vector<RowSpec> rows;
  for (std::int32_t p = 0; p < count; ++p) {
    all.insert(all.end(), logits.begin(), logits.end());
    rows.push_back({.slot = p, .position = p});
  }
  const std::vector<step::SamplingParams> slots(static_cast<std::size_t>(count), slot);
  const auto width = static_cast<std::int64_t>(logits.size());
  return Draw(backend, all, width, static_cast<std::int32_t>(width), rows, slots).ids;
}

// The sampler's formula (draw.cc) by sorting everything, in double where that changes nothing.
// top_p needs the device's own weights, so cases keep clear of its border by `margin`; false if
// this one does not.
bool OracleKept(const std::vector<float>& logits, const step::SamplingParams& slot,
                std::vector<bool>* kept) {
  const std::size_t n = logits.size();
  std::vector<float> t(n);
  for (std::size_t i = 0; i < n; ++i)
    t[i] = logits[i] / slot.phases[step::Phase::kReasoning].temperature;
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return t[a] > t[b]; });
  if (slot.phases[step::Phase::kReasoning].top_k > 0)
    order.resize(std::min(n, static_cast<std::size_t>(slot.phases[step::Phase::kReasoning].top_k)));
  const double max = t[order[0]];
  double total = 0;
  for (const std::size_t i : order) total += std::exp(t[i] - max);
  kept->assign(n, false);
  double sum = 0;
  for (const std::size_t i : order) {
    const double e = std::exp(t[i] - max);
    if (std::fabs(e - slot.phases[step::Phase::kReasoning].min_p) < 1e-6 * e) return false;
    if (e >= slot.phases[step::Phase::kReasoning].min_p) (*kept)[i] = true;
    sum += e;
    if (slot.phases[step::Phase::kReasoning].top_p < 1 &&
        std::fabs(sum / total - slot.phases[step::Phase::kReasoning].top_p) < 1e-6)
      return false;
    if (slot.phases[step::Phase::kReasoning].top_p < 1 &&
        sum / total >= slot.phases[step::Phase::kReasoning].top_p)
      break;
  }
  return true;
}

std::int32_t OracleDraw(const std::vector<float>& logits, const std::vector<bool>& kept,
                        const step::SamplingParams& slot, std::int32_t position) {
  std::int32_t best = -1;
  float best_score = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!kept[i]) continue;
    const auto words = Philox4x32(
        {static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(position), slot.output_index, 0},
        {static_cast<std::uint32_t>(slot.seed), static_cast<std::uint32_t>(slot.seed >> 32)});
    const float score =
        logits[i] / slot.phases[step::Phase::kReasoning].temperature + GumbelOf(words[0]);
    if (best < 0 || score > best_score) {
      best = static_cast<std::int32_t>(i);
      best_score = score;
    }
  }
  return best;
}

class DrawTest : public OpTest {};

TEST_P(DrawTest, TemperatureZeroTakesTheFirstOfTheGreatest) {
  const std::vector<float> logits = {0.5F, 2.0F, -1.0F, 2.0F};
  const Drawn drawn = Draw(device(), logits, 4, 4, {{.slot = 0}}, {Slot(0)});
  EXPECT_EQ(drawn.ids[0], 1);
  EXPECT_EQ(drawn.last_drawn[0], 1);
  EXPECT_EQ(drawn.not_finite[0], 0);
}

TEST_P(DrawTest, ATemperatureThatOverflowsTakesTheGreatest) {
  EXPECT_EQ(Draw(device(), {1.0F, 3.0F}, 2, 2, {{.slot = 0}}, {Slot(1e-38F)}).ids[0], 1);
}

TEST_P(DrawTest, MatchesASortingOracle) {
  int compared = 0;
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    const std::int64_t n = std::vector<std::int64_t>{1, 2, 17, 300, 3000}[seed % 5];
    std::vector<float> logits = RandomFloats(n, seed, seed % 2 == 0 ? 1.0F : 6.0F);
    // Ties, which the lower id must win.
    for (float& x : logits) {
      if (seed % 3 == 0) x = std::round(x * 2) / 2;
    }
    step::SamplingParams slot = Slot(0.3F + static_cast<float>(random() % 100) / 50, 0, 1, 0,
                                     (std::uint64_t{random()} << 32) + random());
    if (random() % 2 == 0)
      slot.phases[step::Phase::kReasoning].top_k = static_cast<std::int32_t>(random() % 60 + 1);
    if (random() % 2 == 0)
      slot.phases[step::Phase::kReasoning].top_p = static_cast<float>(random() % 99 + 1) / 100;
    if (random() % 3 == 0)
      slot.phases[step::Phase::kReasoning].min_p = static_cast<float>(random() % 100) / 100;
    slot.output_index = random() % 3;
    std::vector<bool> kept;
    if (!OracleKept(logits, slot, &kept)) continue;
    const std::vector<std::int32_t> ids = DrawMany(device(), logits, 20, slot);
    for (std::int32_t p = 0; p < 20; ++p) {
      ASSERT_EQ(ids[static_cast<std::size_t>(p)], OracleDraw(logits, kept, slot, p))
          << "seed " << seed << " position " << p;
    }
    ++compared;
  }
  EXPECT_GT(compared, 300);
}

// Logits that adjust.h has masked are drawn from as if what is left out had never been there.
TEST_P(DrawTest, DrawsAsIfWhatAMaskLeavesOutWereNotThere) {
  int compared = 0;
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    std::mt19937 random(seed);
    const std::int64_t n = std::vector<std::int64_t>{2, 17, 300, 3000}[seed % 4];
    const std::vector<float> logits = RandomFloats(n, seed, 6.0F);
    std::vector<step::MaskWord> mask(step::NumMaskWords(static_cast<std::int32_t>(n)));
    std::vector<std::int64_t> ids;  // that it holds
    const std::uint32_t share = std::vector<std::uint32_t>{2, 5, 100, 2000}[random() % 4];
    const std::int64_t sure = static_cast<std::int64_t>(random()) % n;
    for (std::int64_t i = 0; i < n; ++i) {
      if (i != sure && random() % share != 0) continue;
      mask[static_cast<std::size_t>(i) / 64] |= step::MaskWord{1} << (i % 64);
      ids.push_back(i);
    }
    step::SamplingParams slot = Slot(0.3F + static_cast<float>(random() % 170) / 100, 0, 1, 0,
                                     (std::uint64_t{random()} << 32) + random());
    step::PhaseSampling& sampling = slot.phases[step::Phase::kReasoning];
    if (random() % 2 == 0) sampling.top_k = static_cast<std::int32_t>(random() % 60 + 1);
    if (random() % 2 == 0) sampling.top_p = static_cast<float>(random() % 99 + 1) / 100;
    if (random() % 3 == 0) sampling.min_p = static_cast<float>(random() % 100) / 100;
    std::vector<float> left;
    for (const std::int64_t id : ids) left.push_back(logits[static_cast<std::size_t>(id)]);
    std::vector<bool> kept_of_left;
    if (!OracleKept(left, slot, &kept_of_left)) continue;
    std::vector<bool> kept(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      kept[static_cast<std::size_t>(ids[i])] = kept_of_left[i];
    }
    std::vector<float> masked = logits;
    for (std::int64_t i = 0; i < n; ++i) {
      masked[static_cast<std::size_t>(i)] =
          Masked(masked[static_cast<std::size_t>(i)], mask.data(), i);
    }
    const std::vector<std::int32_t> drawn = DrawMany(device(), masked, 20, slot);
    for (std::int32_t p = 0; p < 20; ++p) {
      ASSERT_EQ(drawn[static_cast<std::size_t>(p)], OracleDraw(logits, kept, slot, p))
          << "seed " << seed << " position " << p;
    }
    ++compared;
  }
  EXPECT_GT(compared, 300);
}

TEST_P(DrawTest, TemperatureZeroTakesTheGreatestThatAMaskHolds) {
  const float least = std::numeric_limits<float>::lowest();
  EXPECT_EQ(Draw(device(), {least, 2.0F, least, 3.0F}, 4, 4, {{.slot = 0}}, {Slot(0)}).ids[0], 3);
  EXPECT_EQ(Draw(device(), {least, least, -9.0F, least}, 4, 4, {{.slot = 0}}, {Slot(2)}).ids[0], 2);
}

TEST_P(DrawTest, TopKKeepsExactlyKEvenOfEquals) {
  const std::vector<float> logits(50, 1.25F);
  std::vector<int> seen(50);
  for (const std::int32_t id : DrawMany(device(), logits, 2000, Slot(1, 3))) {
    ++seen[static_cast<std::size_t>(id)];
  }
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(seen[i] > 0, i < 3) << i;
}

TEST_P(DrawTest, DrawsFollowTheSoftmax) {
  const std::size_t n = 40;
  const std::vector<float> logits = RandomFloats(static_cast<std::int64_t>(n), 3, 1.5F);
  for (const float temperature : {0.6F, 1.0F, 1.7F}) {
    const std::int32_t draws = 60000;
    std::vector<double> expected(n);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += expected[i] = std::exp(logits[i] / temperature);
    std::vector<int> seen(n);
    for (const std::int32_t id : DrawMany(device(), logits, draws, Slot(temperature))) {
      ++seen[static_cast<std::size_t>(id)];
    }
    double chi_square = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const double e = expected[i] / sum * draws;
      chi_square += (seen[i] - e) * (seen[i] - e) / e;
    }
    EXPECT_LT(chi_square, 79.0) << "39 degrees of freedom: 79 has probability 1.5e-4";
    EXPECT_GT(chi_square, 13.0) << "39 degrees of freedom: below 13 has probability 4e-5";
  }
}

TEST_P(DrawTest, SeedPositionAndOutputIndexChangeTheDraws) {
  const std::vector<float> logits(100, 0.0F);
  const auto base = DrawMany(device(), logits, 100, Slot(1));
  EXPECT_EQ(DrawMany(device(), logits, 100, Slot(1)), base);
  EXPECT_NE(DrawMany(device(), logits, 100, Slot(1, 0, 1, 0, 2)), base);
  EXPECT_NE(DrawMany(device(), logits, 100, Slot(1, 0, 1, 0, 1 + (std::uint64_t{1} << 32))), base);
  step::SamplingParams other_output = Slot(1);
  other_output.output_index = 1;
  EXPECT_NE(DrawMany(device(), logits, 100, other_output), base);
  EXPECT_GT(std::count_if(base.begin(), base.end(), [&](auto id) { return id != base[0]; }), 80);
}

TEST_P(DrawTest, ReasoningRowsDrawAsAnswerAfterTheThinkEndToken) {
  step::SamplingParams slot = Slot(0);
  slot.phases[step::Phase::kReasoning].temperature =
      50.0F;  // reasoning: nearly uniform; answer: greedy
  slot.think_end_id = 9;
  std::vector<float> logits;
  std::vector<RowSpec> rows;
  for (std::int32_t p = 0; p < 60; ++p) {
    for (int i = 0; i < 30; ++i) logits.push_back(i == 4 ? 1.0F : 0.0F);
    rows.push_back({.slot = p,
                    .position = p,
                    .input_id = p % 3 == 0 ? 9 : 8,
                    .phase = p % 3 == 1 ? step::Phase::kAnswer : step::Phase::kReasoning});
  }
  const std::vector<step::SamplingParams> slots(60, slot);
  const Drawn drawn = Draw(device(), logits, 30, 30, rows, slots);
  int other = 0;
  for (std::size_t p = 0; p < 60; ++p) {
    if (p % 3 == 2) {
      other += drawn.ids[p] != 4 ? 1 : 0;
    } else {
      EXPECT_EQ(drawn.ids[p], 4) << p;
    }
  }
  EXPECT_GT(other, 10);
}

TEST_P(DrawTest, LogprobIsOfTheRawLogits) {
  for (const std::int64_t n : {1, 16, 33, 5000}) {
    const std::vector<float> logits = RandomFloats(n, static_cast<std::uint32_t>(n), 4.0F);
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    const Drawn drawn = Draw(device(), logits, n, static_cast<std::int32_t>(n), {{.slot = 0}},
                             {Slot(2.0F, 20, 0.9F)});
    const double expected = logits[static_cast<std::size_t>(drawn.ids[0])] - std::log(sum);
    EXPECT_NEAR(drawn.logprobs[0], expected,
                ToleranceOf(Op::kLogprob, act()).FromDouble(1 + std::fabs(expected)));
  }
}

TEST_P(DrawTest, OfSeveralRowsOfASlotTheLastOnesDrawIsKept) {
  const std::vector<float> logits = {0, 9, 0, 0, 0, 0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 9, 0, 9, 0, 0};
  const std::vector<RowSpec> rows = {{.slot = 2, .position = 5},
                                     {.slot = 2, .position = 6},
                                     {.slot = 0},
                                     {.slot = -1},
                                     {.slot = 1}};
  const Drawn drawn =
      Draw(device(), logits, 4, 4, rows, std::vector<step::SamplingParams>(3, Slot(0)));
  EXPECT_EQ(drawn.ids, (std::vector<std::int32_t>{1, 2, 0, -7, 1}));
  EXPECT_EQ(drawn.last_drawn, (std::vector<std::int32_t>{0, 1, 2}));
}

TEST_P(DrawTest, FlagsRowsThatAreNotFiniteAndLeavesTheOthers) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(), kInf, -kInf};
  for (const float value : bad) {
    const std::vector<float> logits = {1, 2, value, 0, 0, 5};
    const Drawn drawn =
        Draw(device(), logits, 3, 3, {{.slot = 0}, {.slot = 1}}, {Slot(1), Slot(0)});
    EXPECT_EQ(drawn.not_finite, (std::vector<std::int32_t>{1, 0}));
    EXPECT_EQ(drawn.ids, (std::vector<std::int32_t>{0, 2}));
  }
}

TEST_P(DrawTest, IgnoresPaddingColumnsAndRows) {
  const std::vector<float> logits = {1, 2, 100, NAN, 3, 0, 100, NAN};
  const Drawn drawn = Draw(device(), logits, 4, 2, {{.slot = -1}, {.slot = 1}}, {Slot(0), Slot(0)});
  EXPECT_EQ(drawn.ids[1], 0);
  EXPECT_EQ(drawn.not_finite[1], 0);
  EXPECT_EQ(drawn.last_drawn, (std::vector<std::int32_t>{-7, 0}));
}

TEST_P(DrawTest, SameDrawsAsItsTwinInEveryWay) {
  const std::int64_t n = 2000;
  std::vector<float> logits;
  std::vector<RowSpec> rows;
  for (std::int32_t r = 0; r < 9; ++r) {
    const auto row = RandomFloats(n, static_cast<std::uint32_t>(r), 3.0F);
    logits.insert(logits.end(), row.begin(), row.end());
    rows.push_back({.slot = r, .position = 70 + r});
  }
  const std::vector<step::SamplingParams> slots(9, Slot(0.6F, 0, 0.95F, 0.01F));
  const Drawn expected = Draw(twin(), logits, n, static_cast<std::int32_t>(n), rows, slots);
  for (const Way& way : GetParam().ways()) {
    const Drawn drawn = Draw(*way.backend, logits, n, static_cast<std::int32_t>(n), rows, slots);
    EXPECT_EQ(drawn.ids, expected.ids) << way.name;
    EXPECT_TRUE(SameBits(drawn.logprobs, expected.logprobs)) << way.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, DrawTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
