#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "worker/model/checkpoint/config_reader.h"

namespace thinkwire::worker::model {

// Every frequency divided by one factor (rope_type "linear").
struct LinearRopeScaling {
  double factor = 1;  // > 0
};

// Llama 3's stretch of the rotary frequencies (rope_type "llama3").
struct Llama3RopeScaling {
  double factor = 1;            // > 0: divides frequencies of long waves
  double low_freq_factor = 1;   // waves longer than original / this are divided
  double high_freq_factor = 4;  // waves shorter than original / this stay; > low_freq_factor
  double original_max_position_embeddings = 8192;
};

// YaRN (Peng et al. 2023, arXiv:2309.00071; rope_type "yarn"): frequencies that turn more than
// beta_fast times within the original context stay, those that turn less than beta_slow times are
// divided, those between are blended.
struct YarnRopeScaling {
  double factor = 1;            // > 0
  double attention_factor = 1;  // multiplies cosines and sines
  double beta_fast = 32;        // > 0
  double beta_slow = 1;         // > 0
  bool truncate = true;         // the blend begins and ends at whole dimensions
  double original_max_position_embeddings = 4096;
  double mscale_all_dim = 0;  // 0: unset; read by latent attention alone (ScoreFactor)
};

// Every frequency divided by a factor of its own, which GGUF files keep instead of Llama 3's rule.
struct DividedRopeScaling {
  std::vector<float> divisors;  // [D/2], > 0
};

using RopeScaling = std::variant<std::monostate, LinearRopeScaling, Llama3RopeScaling,
                                 YarnRopeScaling, DividedRopeScaling>;

struct RopeConfig {
  double theta = 10000;  // 1 to kMaxRopeTheta; yarn: more than 1
  RopeScaling scaling;   // none: theta^(-2i/D) as it is
};

// Reads a config.json's rope_theta and the object that says how it is scaled, in transformers'
// order: rope_scaling, if it is an object with anything in it, else rope_parameters, and never a
// bit of both; in it rope_type before type, rope_theta before that of config.json; and
// original_max_position_embeddings of config.json before its own. What loses and differs is told in
// `warnings`, a sentence each. "dynamic" rope changes frequencies beyond max_position_embeddings
// only, where nothing is served, so that it counts as none.
// Fails: INVALID_ARGUMENT, naming key, value and what is supported.
absl::Status ReadRope(const ConfigReader& config, std::int64_t max_position_embeddings,
                      RopeConfig& rope, std::vector<std::string>& warnings);

// What DeepSeek's latent attention multiplies its scores by beyond 1 / sqrt(width): the square of
// yarn's temperature with mscale_all_dim, at every length; 1 where that is unset.
double ScoreFactor(const RopeConfig& rope);

// The context that yarn stretches the original one to, which files seldom say otherwise; at most
// kMaxPositions. 0 with any other scaling.
std::int64_t StretchedPositions(const RopeConfig& rope);

}  // namespace thinkwire::worker::model
