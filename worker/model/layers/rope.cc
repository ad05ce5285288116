#include "worker/model/layers/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <variant>

#include "worker/model/checkpoint/for_rows.h"

namespace thinkwire::worker::model {
namespace {

// transformers/modeling_rope_utils.py, "llama3": long waves are divided by `factor`, short ones
// stay, those between are blended.
double StretchLlama3(double frequency, const Llama3RopeScaling& scaling) {
  const double wave = 2 * std::numbers::pi / frequency;
  const double original = scaling.original_max_position_embeddings;
  if (wave < original / scaling.high_freq_factor) return frequency;
  if (wave > original / scaling.low_freq_factor) return frequency / scaling.factor;
  const double smooth = (original / wave - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

// The pair of dimensions whose wave turns so often within the original context; a fraction between
// pairs.
double PairThatTurns(double rotations, double theta, double head_dim, double original) {
  return head_dim * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(theta));
}

// transformers/modeling_rope_utils.py, "yarn": the share of pair i's frequency that is divided.
double DividedShare(std::int64_t i, double theta, double head_dim, const YarnRopeScaling& yarn) {
  const double original = yarn.original_max_position_embeddings;
  double low = PairThatTurns(yarn.beta_fast, theta, head_dim, original);
  double high = PairThatTurns(yarn.beta_slow, theta, head_dim, original);
  if (yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, head_dim - 1);
  if (low == high) high += 0.001;  // as there, against a division by 0
  return std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
}

double Frequency(const ModelConfig& config, std::int64_t i) {
  const auto head_dim = static_cast<double>(config.head_dim);
  const double frequency = std::pow(config.rope.theta, -2.0 * static_cast<double>(i) / head_dim);
  const RopeScaling& scaling = config.rope.scaling;
  if (const auto* linear = std::get_if<LinearRopeScaling>(&scaling)) {
    return frequency / linear->factor;
  }
  if (const auto* by_own = std::get_if<DividedRopeScaling>(&scaling)) {
    return frequency / by_own->divisors[static_cast<std::size_t>(i)];
  }
  if (const auto* llama = std::get_if<Llama3RopeScaling>(&scaling)) {
    return StretchLlama3(frequency, *llama);
  }
  if (const auto* yarn = std::get_if<YarnRopeScaling>(&scaling)) {
    const double divided = DividedShare(i, config.rope.theta, head_dim, *yarn);
    return frequency / yarn->factor * divided + frequency * (1 - divided);
  }
  return frequency;
}

}  // namespace

std::vector<float> RopeTable(const ModelConfig& config, std::int64_t positions) {
  const std::int64_t half = config.head_dim / 2;
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < half; ++i) {
    frequencies.push_back(static_cast<float>(Frequency(config, i)));
  }
  const auto* yarn = std::get_if<YarnRopeScaling>(&config.rope.scaling);
  const double length = yarn == nullptr ? 1 : yarn->attention_factor;
  std::vector<float> table(static_cast<std::size_t>(positions * config.head_dim));
  ForRows(positions, positions * config.head_dim, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t p = first; p < end; ++p) {
      float* const out = table.data() + p * config.head_dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(p) * frequencies[static_cast<std::size_t>(i)];
        out[i] = static_cast<float>(length * std::cos(static_cast<double>(angle)));
        out[half + i] = static_cast<float>(length * std::sin(static_cast<double>(angle)));
      }
    }
  });
  return table;
}

}  // namespace thinkwire::worker::model
