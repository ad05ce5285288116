#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/worker/kernels/op_testing.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int32_t kUntouched = -7;

struct Reported {
  std::vector<float> logprobs;
  std::vector<std::int32_t> ids;  // [L, kMaxAlternatives]
  std::vector<float> alternatives;
};

// Rows of `width` logits; ids and slots by row.
Reported Report(Backend& backend, const std::vector<float>& logits, std::int64_t width,
                std::int32_t vocab_size, const std::vector<std::int32_t>& ids,
                const std::vector<std::int32_t>& counts, const std::vector<std::int32_t>& slots) {
  const std::size_t rows = ids.size();
  const std::size_t most = rows * static_cast<std::size_t>(step::kMaxAlternatives);
  const DeviceFloats x(backend, DType::kF32, {static_cast<std::int64_t>(rows), width}, logits);
  const DeviceInts on_slots(backend, slots);
  const DeviceInts on_ids(backend, ids);
  const DeviceInts on_counts(backend, counts);
  const DeviceArray<float> logprobs(backend, std::vector<float>(rows, kUntouched));
  const DeviceInts alternative_ids(backend, std::vector<std::int32_t>(most, kUntouched));
  const DeviceArray<float> alternatives(backend, std::vector<float>(most, kUntouched));
  backend.Logprobs(x.tensor(), {.slots = on_slots.data(),
                                .ids = on_ids.data(),
                                .num_alternatives = on_counts.data(),
                                .num_rows = static_cast<std::int32_t>(rows),
                                .vocab_size = vocab_size,
                                .logprobs = logprobs.data(),
                                .alternative_ids = alternative_ids.data(),
                                .alternative_logprobs = alternatives.data()});
  return {logprobs.Read(), alternative_ids.Read(), alternatives.Read()};
}

Reported ReportOne(Backend& backend, const std::vector<float>& logits, std::int32_t count) {
  const auto n = static_cast<std::int32_t>(logits.size());
  return Report(backend, logits, n, n, {n / 2}, {count}, {0});
}

class LogprobsTest : public OpTest {};

TEST_P(LogprobsTest, GivesTheMostProbableIdsInOrder) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    const std::int64_t n = std::vector<std::int64_t>{1, 2, 19, 20, 21, 5000}[seed % 6];
    std::vector<float> logits = RandomFloats(n, seed, 4.0F);
    for (float& x : logits) {
      if (seed % 2 == 0) x = std::round(x);  // ties, zeros of both signs among them
    }
    const auto count = static_cast<std::int32_t>(
        std::min<std::int64_t>(n, seed % 5 == 0 ? 3 : step::kMaxAlternatives));
    const Reported got = ReportOne(device(), logits, count);
    std::vector<std::int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, std::greater<>(),
                             [&](auto id) { return logits[static_cast<std::size_t>(id)]; });
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    const auto expect_logprob = [&](float logprob, std::int32_t id) {
      const double expected = logits[static_cast<std::size_t>(id)] - std::log(sum);
      EXPECT_NEAR(logprob, expected,
                  ToleranceOf(Op::kLogprob, act()).FromDouble(1 + std::fabs(expected)));
    };
    expect_logprob(got.logprobs[0], static_cast<std::int32_t>(n / 2));
    for (std::size_t i = 0; i < static_cast<std::size_t>(step::kMaxAlternatives); ++i) {
      if (i < static_cast<std::size_t>(count)) {
        ASSERT_EQ(got.ids[i], order[i]) << "seed " << seed << " place " << i;
        expect_logprob(got.alternatives[i], order[i]);
      } else {
        EXPECT_EQ(got.ids[i], kUntouched);
        EXPECT_EQ(got.alternatives[i], kUntouched);
      }
    }
  }
}

TEST_P(LogprobsTest, OfTheDrawnIdAreTheBitsThatDrawGives) {
  const std::vector<float> logits = RandomFloats(3000, 5, 3.0F);
  const DeviceFloats x(device(), DType::kF32, {1, 3000}, logits);
  constexpr step::PhaseSampling kWarm = {.temperature = 1.3F, .top_p = 1};
  const step::SamplingParams sampling = {
      .phases = {{kWarm, kWarm}}, .seed = 3, .output_index = 0, .think_end_id = -1};
  for (std::int32_t position = 0; position < 50; ++position) {
    const DeviceInts slot(device(), {0});
    const DeviceInts on_position(device(), {position});
    const DeviceInts input(device(), {0});
    const DeviceArray<step::Phase> phase(device(), {step::Phase::kReasoning});
    const DeviceArray<step::SamplingParams> slot_sampling(device(), {sampling});
    const DeviceInts id(device(), {-7});
    const DeviceFloats logprob(device(), DType::kF32, {1});
    const DeviceInts not_finite(device(), {-7});
    const DeviceInts last(device(), {-7});
    device().Draw(x.tensor(),
                  {.num_rows = 1,
                   .slots = slot.data(),
                   .positions = on_position.data(),
                   .input_ids = input.data(),
                   .phases = phase.data(),
                   .slot_sampling = slot_sampling.data(),
                   .vocab_size = 3000},
                  id.tensor(DType::kI32), logprob.tensor(), not_finite.tensor(DType::kI32),
                  last.tensor(DType::kI32));
    const std::vector<std::int32_t> drawn = id.Read();
    const Reported got = Report(device(), logits, 3000, 3000, drawn, {1}, {0});
    EXPECT_TRUE(SameBits(got.logprobs, logprob.Read()));
    if (drawn[0] == got.ids[0]) {
      EXPECT_TRUE(SameBits({got.alternatives[0]}, logprob.Read()));
    }
  }
}

TEST_P(LogprobsTest, LeavesPaddingAndRowsThatAreNotFinite) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {1, 2, 9, NAN, kInf, 2, 9, NAN, 3, 4, 9, NAN};
  const Reported got = Report(device(), logits, 4, 2, {0, 0, 1}, {2, 2, 1}, {-1, 1, 0});
  EXPECT_EQ(got.logprobs[0], kUntouched);
  EXPECT_EQ(got.logprobs[1], kUntouched);
  EXPECT_NEAR(got.logprobs[2], -std::log1p(std::exp(-1.0)), 1e-6);
  for (std::size_t i = 0; i < got.ids.size(); ++i) {
    EXPECT_EQ(got.ids[i],
              i == 2 * static_cast<std::size_t>(step::kMaxAlternatives) ? 1 : kUntouched);
  }
}

TEST_P(LogprobsTest, SameBitsAsItsTwinInEveryWay) {
  const std::int32_t n = 2001;
  std::vector<float> logits;
  for (std::uint32_t row = 0; row < 7; ++row) {
    const auto values = RandomFloats(n, row, 3.0F);
    logits.insert(logits.end(), values.begin(), values.end());
  }
  const std::vector<std::int32_t> ids = {0, 1, 2, 3, 4, 5, 2000};
  const std::vector<std::int32_t> counts = {0, 1, 5, 20, 20, 3, 20};
  const Reported expected = Report(twin(), logits, n, n, ids, counts, ids);
  for (const Way& way : GetParam().ways()) {
    const Reported got = Report(*way.backend, logits, n, n, ids, counts, ids);
    EXPECT_EQ(got.ids, expected.ids) << way.name;
    EXPECT_TRUE(SameBits(got.logprobs, expected.logprobs)) << way.name;
    EXPECT_TRUE(SameBits(got.alternatives, expected.alternatives)) << way.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, LogprobsTest, testing::ValuesIn(TestedDevices()), DeviceName);

}  // namespace
}  // namespace thinkwire::worker::kernels
