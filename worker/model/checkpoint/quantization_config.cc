#include "worker/model/checkpoint/quantization_config.h"

#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/model/checkpoint/config_reader.h"
#include "worker/model/checkpoint/quantization_rules.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

// A model of 1,024 layers has some 7,000 matrices.
constexpr std::size_t kMostRules = 1 << 13;

absl::StatusOr<QuantizationRules> ReadRules(const ConfigReader& reader, std::string& method) {
  const json* name = reader.Find("quant_method");
  if (name != nullptr && name->is_string()) method = name->get<std::string>();
  if (method == "awq") return ReadAwqRules(reader);
  if (method == "gptq") return ReadGptqRules(reader);
  if (method == "compressed-tensors") return ReadCompressedTensorsRules(reader);
  if (method == "fp8") return ReadFp8Rules(reader);
  if (method == "bitsandbytes") return ReadBitsandbytesRules(reader);
  return reader.Refuse("quant_method", "awq, gptq, compressed-tensors, fp8, bitsandbytes");
}

}  // namespace

absl::Status ReadGroupSize(const ConfigReader& reader, absl::string_view key,
                           std::int64_t& group_size) {
  const absl::Status read = reader.Integer(key, -1, kMaxIntermediateSize, group_size);
  if (read.ok() && (group_size == -1 || (group_size > 0 && group_size % 32 == 0))) {
    return absl::OkStatus();
  }
  return reader.Refuse(key, "-1 or a multiple of 32");
}

absl::StatusOr<std::vector<std::string>> ReadTexts(const ConfigReader& reader,
                                                   absl::string_view key) {
  std::vector<std::string> texts;
  const json* found = reader.Find(key);
  if (found == nullptr) return texts;
  if (!found->is_array()) return reader.Refuse(key, "a list of names");
  for (const json& item : *found) {
    if (!item.is_string()) return reader.Refuse(key, "a list of names");
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

void ExcludeContaining(const std::vector<std::string>& parts, QuantizationRules& rules) {
  for (const std::string& part : parts) rules.push_back({NamePattern::Containing(part), {}});
}

absl::StatusOr<QuantizationConfig> QuantizationConfig::Read(const json& object,
                                                            const std::string& name) {
  const ConfigReader reader(object, absl::StrCat(name, ": quantization_config"));
  RETURN_IF_ERROR(reader.RequireObject());
  std::string method;
  ASSIGN_OR_RETURN(QuantizationRules rules, ReadRules(reader, method));
  if (rules.size() > kMostRules) {
    return absl::InvalidArgumentError(absl::StrCat(reader.name(), ": ", rules.size(),
                                                   " rules for modules; allowed: ", kMostRules));
  }
  bool has_fp8_kv_cache = false;
  if (method == "compressed-tensors") {
    ASSIGN_OR_RETURN(has_fp8_kv_cache, ReadFp8KvCacheScheme(reader));
  }
  return QuantizationConfig(reader.name(), std::move(method), std::move(rules), has_fp8_kv_cache);
}

absl::StatusOr<std::optional<GroupScheme>> QuantizationConfig::SchemeOf(
    absl::string_view module) const {
  const Rule* first = nullptr;
  for (const Rule& rule : rules_) {
    if (first != nullptr && rule.rank != first->rank) break;
    const absl::StatusOr<bool> matches = rule.pattern.Matches(module);
    if (!matches.ok()) return Annotate(matches.status(), name_);
    if (!*matches) continue;
    if (first == nullptr) first = &rule;
    if (rule.scheme == first->scheme) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ": two patterns match ", ShownText({module.data(), module.size()}),
                     " and say different things; supported: one, or several that agree"));
  }
  if (first == nullptr) return std::nullopt;
  return first->scheme;
}

}  // namespace thinkwire::worker::model
