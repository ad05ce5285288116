#include "worker/model/layers/rope.h"

#include <cmath>
#include <numbers>

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

}  // namespace

std::vector<float> RopeTable(const ModelConfig& config, std::int64_t positions) {
  const std::int64_t half = config.head_dim / 2;
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < half; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim);
    double frequency = std::pow(config.rope_theta, exponent);
    if (config.rope_scaling) frequency = StretchLlama3(frequency, *config.rope_scaling);
    frequencies.push_back(static_cast<float>(frequency));
  }
  std::vector<float> table(static_cast<std::size_t>(positions * config.head_dim));
  float* out = table.data();
  for (std::int64_t p = 0; p < positions; ++p, out += config.head_dim) {
    for (std::int64_t i = 0; i < half; ++i) {
      const float angle = static_cast<float>(p) * frequencies[static_cast<std::size_t>(i)];
      out[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      out[half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
  return table;
}

}  // namespace thinkwire::worker::model
