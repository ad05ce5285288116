#include <gtest/gtest.h>

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
Reported Report(CpuBackend& backend, std::vector<float> logits, std::int64_t width,
                std::int32_t vocab_size, const std::vector<std::int32_t>& ids,
                const std::vector<std::int32_t>& counts, const std::vector<std::int32_t>& slots) {
  const std::size_t rows = ids.size();
  const std::size_t most = rows * static_cast<std::size_t>(step::kMaxAlternatives);
  Reported out = {std::vector<float>(rows, kUntouched), std::vector<std::int32_t>(most, kUntouched),
                  std::vector<float>(most, kUntouched)};
  const LogprobsView view = {.slots = slots.data(),
                             .ids = ids.data(),
                             .num_alternatives = counts.data(),
                             .num_rows = static_cast<std::int32_t>(rows),
                             .vocab_size = vocab_size,
                             .logprobs = out.logprobs.data(),
                             .alternative_ids = out.ids.data(),
                             .alternative_logprobs = out.alternatives.data()};
  const F32 x({static_cast<std::int64_t>(rows), width}, DType::kF32, std::move(logits));
  backend.Logprobs(x.tensor, view);
  return out;
}

Reported ReportOne(CpuBackend& backend, const std::vector<float>& logits, std::int32_t count) {
  const auto n = static_cast<std::int32_t>(logits.size());
  return Report(backend, logits, n, n, {n / 2}, {count}, {0});
}

TEST(Logprobs, GivesTheMostProbableIdsInOrder) {
  CpuBackend backend(2);
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    const std::int64_t n = std::vector<std::int64_t>{1, 2, 19, 20, 21, 5000}[seed % 6];
    std::vector<float> logits = RandomFloats(n, seed, 4.0F);
    for (float& x : logits) {
      if (seed % 2 == 0) x = std::round(x);  // ties, zeros of both signs among them
    }
    const auto count = static_cast<std::int32_t>(
        std::min<std::int64_t>(n, seed % 5 == 0 ? 3 : step::kMaxAlternatives));
    const Reported got = ReportOne(backend, logits, count);
    std::vector<std::int32_t> order(logits.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, std::greater<>(),
                             [&](auto id) { return logits[static_cast<std::size_t>(id)]; });
    double sum = 0;
    for (const float x : logits) sum += std::exp(static_cast<double>(x));
    const auto expect_logprob = [&](float logprob, std::int32_t id) {
      const double expected = logits[static_cast<std::size_t>(id)] - std::log(sum);
      EXPECT_NEAR(logprob, expected, Tolerance::kLogprob * (1 + std::fabs(expected)));
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

TEST(Logprobs, OfTheDrawnIdAreTheBitsThatDrawGives) {
  CpuBackend backend(1);
  const std::vector<float> logits = RandomFloats(3000, 5, 3.0F);
  const F32 x({1, 3000}, DType::kF32, logits);
  constexpr step::PhaseSampling kWarm = {.temperature = 1.3F, .top_p = 1};
  const step::SamplingParams sampling = {
      .phases = {{kWarm, kWarm}}, .seed = 3, .output_index = 0, .think_end_id = -1};
  for (std::int32_t position = 0; position < 50; ++position) {
    const std::int32_t slot = 0;
    const std::int32_t input = 0;
    const step::Phase phase = step::Phase::kReasoning;
    I32 id({1}, DType::kI32);
    F32 logprob({1}, DType::kF32);
    I32 not_finite({1}, DType::kI32);
    I32 last({1}, DType::kI32);
    backend.Draw(x.tensor,
                 {.num_rows = 1,
                  .slots = &slot,
                  .positions = &position,
                  .input_ids = &input,
                  .phases = &phase,
                  .slot_sampling = &sampling,
                  .vocab_size = 3000},
                 id.tensor, logprob.tensor, not_finite.tensor, last.tensor);
    const Reported got = Report(backend, logits, 3000, 3000, id.values, {1}, {0});
    EXPECT_TRUE(SameBits(got.logprobs, logprob.values));
    if (id[0] == got.ids[0]) {
      EXPECT_TRUE(SameBits({got.alternatives[0]}, logprob.values));
    }
  }
}

TEST(Logprobs, LeavesPaddingAndRowsThatAreNotFinite) {
  CpuBackend backend(2);
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {1, 2, 9, NAN, kInf, 2, 9, NAN, 3, 4, 9, NAN};
  const Reported got = Report(backend, logits, 4, 2, {0, 0, 1}, {2, 2, 1}, {-1, 1, 0});
  EXPECT_EQ(got.logprobs[0], kUntouched);
  EXPECT_EQ(got.logprobs[1], kUntouched);
  EXPECT_NEAR(got.logprobs[2], -std::log1p(std::exp(-1.0)), 1e-6);
  for (std::size_t i = 0; i < got.ids.size(); ++i) {
    EXPECT_EQ(got.ids[i],
              i == 2 * static_cast<std::size_t>(step::kMaxAlternatives) ? 1 : kUntouched);
  }
}

TEST(Logprobs, SameBitsOnEveryInstructionSetAndThreadCount) {
  const std::int32_t n = 2001;
  std::vector<float> logits;
  for (std::uint32_t row = 0; row < 7; ++row) {
    const auto values = RandomFloats(n, row, 3.0F);
    logits.insert(logits.end(), values.begin(), values.end());
  }
  const std::vector<std::int32_t> ids = {0, 1, 2, 3, 4, 5, 2000};
  const std::vector<std::int32_t> counts = {0, 1, 5, 20, 20, 3, 20};
  CpuBackend reference(1, Isa::kPortable);
  const Reported expected = Report(reference, logits, n, n, ids, counts, ids);
  for (const BackendCase& c : BackendCases()) {
    CpuBackend backend(c.threads, c.isa);
    const Reported got = Report(backend, logits, n, n, ids, counts, ids);
    EXPECT_EQ(got.ids, expected.ids) << NameOf(c);
    EXPECT_TRUE(SameBits(got.logprobs, expected.logprobs)) << NameOf(c);
    EXPECT_TRUE(SameBits(got.alternatives, expected.alternatives)) << NameOf(c);
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
