#include "worker/model/checkpoint/generation_config.h"

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "common/input_limits.h"
#include "common/json.h"
#include "common/status.h"
#include "worker/model/checkpoint/config_reader.h"

namespace thinkwire::worker::model {
namespace {

// Ranges that are open below begin there.
constexpr double kLeast = std::numeric_limits<float>::min();

absl::Status ReadNumber(const ConfigReader& reader, const char* key, double low, double high,
                        std::optional<float>& value) {
  if (!reader.Has(key)) return absl::OkStatus();
  double number = 0;
  RETURN_IF_ERROR(reader.Number(key, low, high, number));
  value = static_cast<float>(number);
  return absl::OkStatus();
}

absl::Status ReadTopK(const ConfigReader& reader, const char* key,
                      std::optional<std::int32_t>& value) {
  if (!reader.Has(key)) return absl::OkStatus();
  std::int64_t number = 0;
  RETURN_IF_ERROR(reader.Integer(key, 0, std::numeric_limits<std::int32_t>::max(), number));
  value = static_cast<std::int32_t>(number);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SamplingDefaults> ReadSampling(const ConfigReader& reader,
                                              const SamplingKeys& keys) {
  SamplingDefaults sampling;
  RETURN_IF_ERROR(ReadNumber(reader, keys.temperature, 0, 2, sampling.temperature));
  RETURN_IF_ERROR(ReadNumber(reader, keys.top_p, kLeast, 1, sampling.top_p));
  RETURN_IF_ERROR(ReadNumber(reader, keys.min_p, 0, 1, sampling.min_p));
  RETURN_IF_ERROR(
      ReadNumber(reader, keys.repetition_penalty, kLeast, 2, sampling.repetition_penalty));
  RETURN_IF_ERROR(ReadTopK(reader, keys.top_k, sampling.top_k));
  return sampling;
}

absl::StatusOr<SamplingDefaults> LoadSamplingDefaults(const std::filesystem::path& dir) {
  const std::filesystem::path path = dir / "generation_config.json";
  const auto document = ReadJsonFile(path, {.max_bytes = kMaxModelConfigBytes});
  if (absl::IsNotFound(document.status())) return SamplingDefaults();
  if (!document.ok()) return document.status();
  const ConfigReader reader(*document, path.string());
  RETURN_IF_ERROR(reader.RequireObject());
  ASSIGN_OR_RETURN(SamplingDefaults sampling,
                   ReadSampling(reader, {.temperature = "temperature",
                                         .top_p = "top_p",
                                         .top_k = "top_k",
                                         .min_p = "min_p",
                                         .repetition_penalty = "repetition_penalty"}));
  bool samples = true;
  RETURN_IF_ERROR(reader.OptionalBool("do_sample", samples));
  if (!samples) sampling.temperature = 0;
  return sampling;
}

}  // namespace thinkwire::worker::model
