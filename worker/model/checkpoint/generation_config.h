#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/config_reader.h"

namespace thinkwire::worker::model {

// How tokens are drawn where a request does not say it; nothing where the checkpoint does not
// either.
struct SamplingDefaults {
  std::optional<float> temperature;         // [0, 2]
  std::optional<float> top_p;               // (0, 1]
  std::optional<std::int32_t> top_k;        // >= 0
  std::optional<float> min_p;               // [0, 1]
  std::optional<float> repetition_penalty;  // (0, 2]
};

// What the fields are called where they stand.
struct SamplingKeys {
  const char* temperature;
  const char* top_p;
  const char* top_k;
  const char* min_p;
  const char* repetition_penalty;
};

// Reads the keys that are there. Fails: INVALID_ARGUMENT, naming file, key, value and range.
absl::StatusOr<SamplingDefaults> ReadSampling(const ConfigReader& reader, const SamplingKeys& keys);

// Reads the keys of these names from `dir`/generation_config.json, if there is one. `do_sample:
// false` is the temperature 0, whatever temperature stands there.
// Fails: INVALID_ARGUMENT, naming file, key, value and range.
absl::StatusOr<SamplingDefaults> LoadSamplingDefaults(const std::filesystem::path& dir);

}  // namespace thinkwire::worker::model
