#include <nlohmann/json.hpp>

#include "common/status.h"
#include "worker/model/checkpoint/quantization_rules.h"

// The keys of DeepSeek's own checkpoints, FP8 with a scale for each block of 128 x 128.
namespace thinkwire::worker::model {

using nlohmann::json;

absl::StatusOr<QuantizationRules> ReadFp8Rules(const ConfigReader& reader) {
  const auto only_text = [&reader](const char* key, const char* supported) {
    const json* found = reader.Find(key);
    return found == nullptr || *found == supported ? absl::OkStatus()
                                                   : reader.Refuse(key, supported);
  };
  RETURN_IF_ERROR(only_text("fmt", "e4m3"));
  RETURN_IF_ERROR(only_text("activation_scheme", "dynamic"));
  const json* block = reader.Find("weight_block_size");
  if (block == nullptr || *block != json::array({kFp8Block, kFp8Block})) {
    return reader.Refuse("weight_block_size", "[128, 128]");
  }
  QuantizationRules rules;
  for (const char* key : {"modules_to_not_convert", "ignored_layers"}) {
    ASSIGN_OR_RETURN(const auto excluded, ReadTexts(reader, key));
    ExcludeContaining(excluded, rules);
  }
  rules.push_back({NamePattern::Exactly("lm_head"), {}, 1});
  rules.push_back({NamePattern::Any(),
                   GroupScheme{.layout = GroupLayout::kFp8Blocks,
                               .bits = 8,
                               .group_size = kFp8Block,
                               .scale_rows = kFp8Block,
                               .has_zeros = false},
                   2});
  return rules;
}

}  // namespace thinkwire::worker::model
