#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/worker/kernels/op_testing.h"
#include "worker/kernels/cuda/cuda_backend.h"
#include "worker/kernels/cuda/device/cuda_devices.h"

// Draw draws the same ids and logprobs as the CPU, bit for bit: from logits of many kinds, with
// every combination of parameters, for few rows and many, whatever the vocabulary's size. Logprobs
// reports the same of the same logits.
namespace thinkwire::worker::kernels {
namespace {

constexpr std::int32_t kThinkEnd = 9;

struct LogitsKind {
  const char* name;
  // Of column i of n.
  float (*logit)(std::mt19937& random, std::int64_t i, std::int64_t n);
};

float Normal(std::mt19937& random, float deviation) {
  return std::normal_distribution<float>(0, deviation)(random);
}
float Uniform(std::mt19937& random) { return std::uniform_real_distribution<float>(0, 1)(random); }
bool Toss(std::mt19937& random) { return random() % 2 == 0; }

const LogitsKind kKinds[] = {
    {"NearlyFlat", [](auto& random, auto, auto) { return Normal(random, 0.02F); }},
    {"Normal", [](auto& random, auto, auto) { return Normal(random, 1); }},
    {"WideNormal", [](auto& random, auto, auto) { return Normal(random, 30) - 1e4F; }},
    {"Peaked",
     [](auto& random, auto i, auto n) {
       return Normal(random, 2.5F) + (i % (n / 5 + 1) == n / 7 ? 15.0F : 0.0F);
     }},
    {"Equal", [](auto&, auto, auto) { return 1.25F; }},
    {"Lowest", [](auto&, auto, auto) { return -std::numeric_limits<float>::max(); }},
    {"ZerosOfBothSigns", [](auto& random, auto, auto) { return Toss(random) ? 0.0F : -0.0F; }},
    {"Denormal",
     [](auto& random, auto, auto) {
       return std::bit_cast<float>(static_cast<std::uint32_t>(random() & 0x807FFFFFU));
     }},
    {"Ties", [](auto& random, auto, auto) { return std::round(Normal(random, 1) * 2) / 2; }},
    {"NeighbouringFloats",
     [](auto& random, auto, auto) {
       return std::bit_cast<float>(0x41200000U + static_cast<std::uint32_t>(random() % 5));
     }},
    {"AroundZero",
     [](auto& random, auto, auto) {
       return std::ldexp(Uniform(random) - 0.5F, -static_cast<int>(random() % 40));
     }},
    {"Masked",
     [](auto& random, auto i, auto n) {
       return i == n / 2 || Uniform(random) < 0.001F ? Normal(random, 1) : -1e30F;
     }},
    {"OneHuge", [](auto&, auto i, auto n) { return i == n / 3 ? 3e38F : 1.0F; }},
    {"HugeOfBothSigns",
     [](auto& random, auto, auto) {
       return (Toss(random) ? 3e38F : -3e38F) * (1 - Uniform(random) / 5);
     }},
    {"LongTail", [](auto& random, auto i,
                    auto) { return i % 1000 == 0 ? 0.0F : -16.4F - Uniform(random) / 2; }},
    {"NotFinite",
     [](auto& random, auto i, auto n) {
       constexpr float kInf = std::numeric_limits<float>::infinity();
       constexpr float kBad[] = {NAN, kInf, -kInf};
       return i == n / 2 && random() % 4 != 0 ? kBad[random() % 3] : Normal(random, 1);
     }},
};

// What one phase draws by.
struct PhaseParameters {
  float temperature;
  std::int32_t top_k;
  float top_p;
  float min_p;
};

std::vector<PhaseParameters> Combinations(std::int32_t vocab_size) {
  std::vector<PhaseParameters> all;
  for (const float temperature : {0.0F, 1e-4F, 0.6F, 1.0F, 2.0F}) {
    for (const std::int32_t top_k : {0, 1, 40, vocab_size}) {
      for (const float top_p : {0.05F, 0.95F, 1.0F}) {
        for (const float min_p : {0.0F, 0.05F}) {
          all.push_back({temperature, top_k, top_p, min_p});
        }
      }
    }
  }
  // The ends: overflowing t, cuts within the last ids, a cut that keeps one.
  all.push_back({1e-38F, 0, 0.95F, 0});
  all.push_back({1e-36F, vocab_size / 2 + 1, 1, 0});
  all.push_back({0.6F, std::max(1, vocab_size - 1), 0.99999994F, 0});
  all.push_back({1, vocab_size / 3 + 1, 1e-20F, 0});
  return all;
}

struct Problem {
  std::int32_t rows = 0;
  std::int32_t vocab_size = 0;
  std::int64_t width = 0;
  std::vector<float> logits;
  std::vector<std::int32_t> slots;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> input_ids;
  std::vector<step::Phase> phases;
  std::vector<step::SamplingParams> sampling;  // by slot: two more than rows
};

// Row l draws by combination first + l in the phase that it is in, and by another in the other.
// Every 29th row is padding, and columns from vocab_size on hold what must not be read.
Problem MakeProblem(const LogitsKind& kind, std::int32_t rows, std::int32_t vocab_size,
                    std::int64_t width, std::uint32_t seed, std::size_t first = 0) {
  std::mt19937 random(seed);
  const std::vector<PhaseParameters> combinations = Combinations(vocab_size);
  Problem p;
  p.rows = rows;
  p.vocab_size = vocab_size;
  p.width = width;
  p.sampling.resize(static_cast<std::size_t>(rows) + 2);
  for (std::int32_t l = 0; l < rows; ++l) {
    for (std::int64_t i = 0; i < width; ++i) {
      p.logits.push_back(i < vocab_size ? kind.logit(random, i, vocab_size) : NAN);
    }
    const std::int32_t slot = rows + 1 - l;
    p.slots.push_back(l % 29 == 28 ? -1 : slot);
    p.positions.push_back(static_cast<std::int32_t>(random() % 100000));
    p.phases.push_back(l % 3 == 1 ? step::Phase::kAnswer : step::Phase::kReasoning);
    p.input_ids.push_back(l % 3 == 2 ? kThinkEnd : kThinkEnd - 1);
    step::SamplingParams& sampling = p.sampling[static_cast<std::size_t>(slot)];
    for (const step::Phase phase : {step::Phase::kReasoning, step::Phase::kAnswer}) {
      const bool draws = (phase == step::Phase::kAnswer) == (l % 3 != 0);
      const std::size_t index = draws ? first + static_cast<std::size_t>(l) : random();
      const PhaseParameters& from = combinations[index % combinations.size()];
      sampling.phases[phase].temperature = from.temperature;
      sampling.phases[phase].top_k = from.top_k;
      sampling.phases[phase].top_p = from.top_p;
      sampling.phases[phase].min_p = from.min_p;
    }
    sampling.seed = std::uint64_t{random()} << 32 | random();
    sampling.output_index = static_cast<std::uint32_t>(random() % 3);
    sampling.think_end_id = kThinkEnd;
  }
  return p;
}

struct Drawn {
  std::vector<std::int32_t> ids;
  std::vector<float> logprobs;
  std::vector<std::int32_t> not_finite;
  std::vector<std::int32_t> last_drawn;
};

// A copy of a vector in the backend's memory.
template <class T>
class Upload {
 public:
  Upload(Backend& backend, const std::vector<T>& values)
      : backend_(backend),
        size_(values.size()),
        buffer_(backend.Allocate(values.size() * sizeof(T))) {
    backend.CopyToDevice(buffer_.data(), values.data(), size_ * sizeof(T));
  }
  T* data() const { return static_cast<T*>(buffer_.data()); }
  std::vector<T> Download() const {
    std::vector<T> values(size_);
    backend_.CopyToHost(values.data(), buffer_.data(), size_ * sizeof(T));
    backend_.Synchronize();
    return values;
  }

 private:
  Backend& backend_;
  std::size_t size_;
  Buffer buffer_;
};

// Outputs hold what no draw writes until one does.
Drawn Draw(Backend& backend, const Problem& p) {
  const auto rows = static_cast<std::size_t>(p.rows);
  const Upload<float> logits(backend, p.logits);
  const Upload<std::int32_t> slots(backend, p.slots);
  const Upload<std::int32_t> positions(backend, p.positions);
  const Upload<std::int32_t> input_ids(backend, p.input_ids);
  const Upload<step::Phase> phases(backend, p.phases);
  const Upload<step::SamplingParams> sampling(backend, p.sampling);
  const Upload<std::int32_t> ids(backend, std::vector<std::int32_t>(rows, -7));
  const Upload<float> logprobs(backend, std::vector<float>(rows, 7));
  const Upload<std::int32_t> not_finite(backend, std::vector<std::int32_t>(rows, -7));
  const Upload<std::int32_t> last(backend, std::vector<std::int32_t>(p.sampling.size(), -7));
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
  return {ids.Download(), logprobs.Download(), not_finite.Download(), last.Download()};
}

// What Logprobs gives of the problem at every row's greatest, or some other, id.
struct Reported {
  std::vector<float> logprobs;
  std::vector<std::int32_t> ids;
  std::vector<float> alternatives;
};

Reported Report(Backend& backend, const Problem& p) {
  const auto rows = static_cast<std::size_t>(p.rows);
  const std::size_t most = rows * static_cast<std::size_t>(step::kMaxAlternatives);
  std::vector<std::int32_t> asked;
  std::vector<std::int32_t> counts;
  for (std::int32_t l = 0; l < p.rows; ++l) {
    asked.push_back(p.positions[static_cast<std::size_t>(l)] % p.vocab_size);
    counts.push_back(std::min(p.vocab_size, l % 4 == 3 ? l % 8 : step::kMaxAlternatives));
  }
  const Upload<float> logits(backend, p.logits);
  const Upload<std::int32_t> slots(backend, p.slots);
  const Upload<std::int32_t> ids(backend, asked);
  const Upload<std::int32_t> num_alternatives(backend, counts);
  const Upload<float> logprobs(backend, std::vector<float>(rows, 7));
  const Upload<std::int32_t> alternative_ids(backend, std::vector<std::int32_t>(most, -7));
  const Upload<float> alternatives(backend, std::vector<float>(most, 7));
  backend.Logprobs(MakeTensor(logits.data(), DType::kF32, p.rows, p.width),
                   {.slots = slots.data(),
                    .ids = ids.data(),
                    .num_alternatives = num_alternatives.data(),
                    .num_rows = p.rows,
                    .vocab_size = p.vocab_size,
                    .logprobs = logprobs.data(),
                    .alternative_ids = alternative_ids.data(),
                    .alternative_logprobs = alternatives.data()});
  return {logprobs.Download(), alternative_ids.Download(), alternatives.Download()};
}

// What AdjustLogits gives of the problem for slots with random biases, penalties and counts, and
// the counts after a draw of each row.
struct AdjustedLogits {
  std::vector<float> logits;
  std::vector<std::int32_t> counts;
};

AdjustedLogits AdjustAndCount(Backend& backend, Problem p) {
  std::mt19937 random(77);
  const auto num_slots = static_cast<std::int32_t>(p.sampling.size());
  const auto id = [&] { return static_cast<std::int32_t>(random() % 1000) % p.vocab_size; };
  std::vector<step::LogitBias> biases(p.sampling.size() * 2 * step::kMaxLogitBiases, {-1, NAN});
  std::vector<std::int32_t> begins;
  std::vector<std::int32_t> counted;
  for (std::int32_t slot = 0; slot < num_slots; ++slot) {
    step::SamplingParams& sampling = p.sampling[static_cast<std::size_t>(slot)];
    for (const step::Phase phase : {step::Phase::kReasoning, step::Phase::kAnswer}) {
      if (random() % 3 != 0) sampling.phases[phase].repetition_penalty = 0.5F + Uniform(random);
      if (random() % 3 == 0) sampling.phases[phase].presence_penalty = Uniform(random);
      if (random() % 3 == 0) sampling.phases[phase].frequency_penalty = -Uniform(random);
      const std::int32_t step = 1 + p.vocab_size / step::kMaxLogitBiases;
      std::int32_t& size = sampling.phases[phase].num_biases;
      const auto list =
          static_cast<std::size_t>((2 * slot + static_cast<int>(phase)) * step::kMaxLogitBiases);
      for (std::int32_t i = 0; random() % 4 != 0 && i < p.vocab_size; i += step) {
        biases[list + static_cast<std::size_t>(size++)] = {i, 200 * Uniform(random) - 100};
      }
    }
    const auto num_prompt = static_cast<std::int32_t>(random() % 300);
    const auto num_drawn = static_cast<std::int32_t>(random() % 3000);
    begins.insert(begins.end(), {slot, static_cast<std::int32_t>(counted.size()), num_prompt,
                                 num_drawn, static_cast<std::int32_t>(random() % 2)});
    for (std::int32_t i = 0; i < num_prompt + num_drawn; ++i) counted.push_back(id());
  }
  std::vector<std::int32_t> draws;
  for (std::int32_t l = 0; l < p.rows; ++l) draws.push_back(id());
  const Upload<float> logits(backend, p.logits);
  const Upload<std::int32_t> slots(backend, p.slots);
  const Upload<std::int32_t> input_ids(backend, p.input_ids);
  const Upload<step::Phase> phases(backend, p.phases);
  const Upload<step::SamplingParams> sampling(backend, p.sampling);
  const Upload<step::LogitBias> bias_lists(backend, biases);
  const Upload<std::int32_t> begin_words(backend, begins);
  const Upload<std::int32_t> counted_ids(backend, counted);
  const Upload<std::int32_t> drawn(backend, draws);
  const auto columns = static_cast<std::size_t>(p.vocab_size);
  const Upload<std::int32_t> count_words(
      backend, std::vector<std::int32_t>(p.sampling.size() * columns, -7));
  const Upload<float> adjusted(backend,
                               std::vector<float>(static_cast<std::size_t>(p.rows) * columns, 7));
  const DrawView view = {.num_rows = p.rows,
                         .slots = slots.data(),
                         .positions = nullptr,
                         .input_ids = input_ids.data(),
                         .phases = phases.data(),
                         .slot_sampling = sampling.data(),
                         .vocab_size = p.vocab_size};
  const Tensor counts = MakeTensor(count_words.data(), DType::kI32, num_slots, p.vocab_size);
  backend.BeginCounts(reinterpret_cast<const CountsBegin*>(begin_words.data()), num_slots,
                      counted_ids.data(), counts);
  const Tensor ids = MakeTensor(drawn.data(), DType::kI32, p.rows);
  backend.CountDraws(view, ids, counts);
  backend.AdjustLogits(MakeTensor(logits.data(), DType::kF32, p.rows, p.width), view,
                       {.biases = bias_lists.data(), .counts = counts},
                       MakeTensor(adjusted.data(), DType::kF32, p.rows, p.vocab_size));
  return {adjusted.Download(), count_words.Download()};
}

class CudaDraw : public testing::TestWithParam<LogitsKind> {
 protected:
  void SetUp() override {
    if (CountCudaDevices() == 0) GTEST_SKIP() << "CudaDraw needs a CUDA device";
    cuda_ = std::make_unique<CudaBackend>(0);
  }

  void ExpectEqual(const Problem& p) {
    const Drawn want = Draw(cpu_, p);
    const Drawn got = Draw(*cuda_, p);
    EXPECT_EQ(got.ids, want.ids);
    EXPECT_TRUE(SameBits(got.logprobs, want.logprobs));
    EXPECT_EQ(got.not_finite, want.not_finite);
    EXPECT_EQ(got.last_drawn, want.last_drawn);
    const Reported want_reported = Report(cpu_, p);
    const Reported got_reported = Report(*cuda_, p);
    EXPECT_EQ(got_reported.ids, want_reported.ids);
    EXPECT_TRUE(SameBits(got_reported.logprobs, want_reported.logprobs));
    EXPECT_TRUE(SameBits(got_reported.alternatives, want_reported.alternatives));
  }

  CpuBackend cpu_{4};
  std::unique_ptr<CudaBackend> cuda_;
};

TEST_P(CudaDraw, DrawsWhatTheCpuDrawsForManyRows) {
  for (const std::int32_t vocab_size : {1, 5, 127, 1000, 32000}) {
    SCOPED_TRACE(vocab_size);
    ExpectEqual(MakeProblem(GetParam(), 128, vocab_size, vocab_size + 3, 1));
  }
}

TEST_P(CudaDraw, DrawsWhatTheCpuDrawsForFewRows) {
  for (const std::int32_t vocab_size : {1, 5, 127, 1000, 32000, 151936}) {
    for (std::size_t first = 0; first < Combinations(vocab_size).size(); first += 17) {
      SCOPED_TRACE(testing::Message() << vocab_size << " columns, combination " << first);
      ExpectEqual(MakeProblem(GetParam(), 1, vocab_size, vocab_size, 2, first));
    }
    ExpectEqual(MakeProblem(GetParam(), 3, vocab_size, vocab_size + 1, 3, 60));
  }
}

TEST_P(CudaDraw, DrawsWhatTheCpuDrawsFromLargeVocabularies) {
  ExpectEqual(MakeProblem(GetParam(), 128, 151936, 151936, 4));
  ExpectEqual(MakeProblem(GetParam(), 64, 151643, 152064, 5, 60));
}

TEST_P(CudaDraw, DrawsFromMoreColumnsThanFitInACluster) {
  ExpectEqual(MakeProblem(GetParam(), 9, 500000, 500000, 6, 48));
}

TEST_P(CudaDraw, KeepsTheLastDrawOfASlotWithSeveralRows) {
  Problem p = MakeProblem(GetParam(), 128, 1000, 1003, 9);
  for (std::size_t l = 1; l < p.slots.size(); ++l) {
    if (l % 4 == 1 || l % 4 == 2) p.slots[l] = p.slots[l - 1];
  }
  ExpectEqual(p);
}

TEST_P(CudaDraw, AdjustsAndCountsAsTheCpuDoes) {
  for (const std::int32_t vocab_size : {1, 5, 2048, 2049, 32000}) {
    SCOPED_TRACE(vocab_size);
    const Problem p = MakeProblem(GetParam(), 40, vocab_size, vocab_size + 3, 8);
    const AdjustedLogits want = AdjustAndCount(cpu_, p);
    const AdjustedLogits got = AdjustAndCount(*cuda_, p);
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

INSTANTIATE_TEST_SUITE_P(Logits, CudaDraw, testing::ValuesIn(kKinds),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace thinkwire::worker::kernels
