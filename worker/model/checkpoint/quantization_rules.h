#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/config_reader.h"
#include "worker/model/checkpoint/quantization_config.h"

// The rules of each quant_method. They fail as QuantizationConfig::Read.
namespace thinkwire::worker::model {

using QuantizationRules = std::vector<QuantizationConfig::Rule>;

absl::StatusOr<QuantizationRules> ReadAwqRules(const ConfigReader& reader);
absl::StatusOr<QuantizationRules> ReadGptqRules(const ConfigReader& reader);
absl::StatusOr<QuantizationRules> ReadCompressedTensorsRules(const ConfigReader& reader);
absl::StatusOr<QuantizationRules> ReadFp8Rules(const ConfigReader& reader);
// None: that the tensors say.
absl::StatusOr<QuantizationRules> ReadBitsandbytesRules(const ConfigReader& reader);

// Whether compressed-tensors' kv_cache_scheme keeps keys and values in FP8, a scale a layer; false
// where there is none.
absl::StatusOr<bool> ReadFp8KvCacheScheme(const ConfigReader& reader);

// Rows, and columns, that share a scale in DeepSeek's FP8 checkpoints.
inline constexpr std::int64_t kFp8Block = 128;

// The number of columns that share a scale.
absl::Status ReadGroupSize(const ConfigReader& reader, absl::string_view key,
                           std::int64_t& group_size);

// The texts of the list at `key`; none where it is absent.
absl::StatusOr<std::vector<std::string>> ReadTexts(const ConfigReader& reader,
                                                   absl::string_view key);

// A rule that the modules with one of these in their name are not quantised, for each.
void ExcludeContaining(const std::vector<std::string>& parts, QuantizationRules& rules);

}  // namespace thinkwire::worker::model
