#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "common/status.h"
#include "worker/model/checkpoint/quantization_rules.h"

// AutoAWQ's keys, in its own spelling and in transformers'.
namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

// The first of the keys that is there, else the first.
absl::string_view KeyOf(const ConfigReader& reader, std::initializer_list<absl::string_view> keys) {
  const auto* found = std::find_if(keys.begin(), keys.end(),
                                   [&reader](absl::string_view key) { return reader.Has(key); });
  return found == keys.end() ? *keys.begin() : *found;
}

absl::Status CheckVersion(const ConfigReader& reader) {
  const absl::string_view key = KeyOf(reader, {"version", "format", "checkpoint_format"});
  const json* version = reader.Find(key);
  if (version == nullptr) return absl::OkStatus();
  const bool is_gemm =
      version->is_string() && absl::AsciiStrToLower(version->get<std::string>()) == "gemm";
  return is_gemm ? absl::OkStatus() : reader.Refuse(key, "gemm");
}

}  // namespace

absl::StatusOr<QuantizationRules> ReadAwqRules(const ConfigReader& reader) {
  GroupScheme scheme = {.layout = GroupLayout::kAwqGemm};
  RETURN_IF_ERROR(CheckVersion(reader));
  RETURN_IF_ERROR(reader.OnlyNumber(KeyOf(reader, {"bits", "w_bit"}), 4));
  RETURN_IF_ERROR(reader.OnlyBool("zero_point", true));
  const absl::string_view group_size = KeyOf(reader, {"group_size", "q_group_size"});
  RETURN_IF_ERROR(ReadGroupSize(reader, group_size, scheme.group_size));
  QuantizationRules rules;
  ASSIGN_OR_RETURN(const auto excluded, ReadTexts(reader, "modules_to_not_convert"));
  ExcludeContaining(excluded, rules);
  rules.push_back({NamePattern::Exactly("lm_head"), {}, 1});
  rules.push_back({NamePattern::Any(), scheme, 2});
  return rules;
}

}  // namespace thinkwire::worker::model
