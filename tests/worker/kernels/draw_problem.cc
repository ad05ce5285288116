#include "tests/worker/kernels/draw_problem.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int32_t kThinkEnd = 9;

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

}  // namespace

std::span<const LogitsKind> LogitsKinds() { return kKinds; }

std::size_t NumCombinations(std::int32_t vocab_size) { return Combinations(vocab_size).size(); }

DrawProblem MakeDrawProblem(const LogitsKind& kind, std::int32_t rows, std::int32_t vocab_size,
                            std::int64_t width, std::uint32_t seed, std::size_t first) {
  std::mt19937 random(seed);
  const std::vector<PhaseParameters> combinations = Combinations(vocab_size);
  DrawProblem p;
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

}  // namespace thinkwire::worker::kernels
