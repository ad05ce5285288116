#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/model/checkpoint/quantization_rules.h"

// The keys of AutoGPTQ and GPTQModel.
namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

// What the model has, and what `dynamic` may say otherwise of some modules.
absl::Status ReadNumbers(const ConfigReader& reader, GroupScheme& scheme) {
  if (reader.Has("bits")) {
    std::int64_t bits = 0;
    if (!reader.Integer("bits", 4, 8, bits).ok() || (bits != 4 && bits != 8)) {
      return reader.Refuse("bits", "4, 8");
    }
    scheme.bits = static_cast<int>(bits);
  }
  if (reader.Has("group_size")) {
    RETURN_IF_ERROR(ReadGroupSize(reader, "group_size", scheme.group_size));
  }
  bool sym = false;  // its zero points are stored all the same
  RETURN_IF_ERROR(reader.OptionalBool("sym", sym));
  return reader.OptionalBool("desc_act", scheme.may_reorder);
}

// GPTQModel takes one from a word, AutoGPTQ took it from each zero point.
bool IsByGptqModel(const ConfigReader& reader) {
  const json* meta = reader.Find("meta");
  if (meta == nullptr || !meta->is_object() || !meta->contains("quantizer")) return false;
  const json& quantizer = meta->at("quantizer");
  const json list = quantizer.is_array() ? quantizer : json::array({quantizer});
  for (const json& writer : list) {
    if (writer.is_string() && absl::StartsWith(writer.get<std::string>(), "gptqmodel")) return true;
  }
  return false;
}

absl::Status ReadFormat(const ConfigReader& reader, GroupScheme& scheme) {
  RETURN_IF_ERROR(reader.OnlyBool("is_marlin_format", false));
  const absl::string_view key = reader.Has("format") ? "format" : "checkpoint_format";
  const json* format = reader.Find(key);
  if (format != nullptr && *format == "gptq_v2") {
    scheme.zeros = ZeroRule::kAsStored;
    return absl::OkStatus();
  }
  if (format != nullptr && *format != "gptq") return reader.Refuse(key, "gptq, gptq_v2");
  scheme.zeros = IsByGptqModel(reader) ? ZeroRule::kWordOneLess : ZeroRule::kOneLess;
  return absl::OkStatus();
}

// "-:" a pattern that excludes, "+:" or nothing one that overrides.
absl::StatusOr<QuantizationConfig::Rule> ReadOverride(const ConfigReader& reader,
                                                      const std::string& key, const json& value,
                                                      GroupScheme scheme) {
  const bool excludes = absl::StartsWith(key, "-:");
  const std::string expression(absl::StripPrefix(key, excludes ? "-:" : "+:"));
  absl::StatusOr<NamePattern> pattern = NamePattern::Regex(expression);
  if (!pattern.ok()) return Annotate(pattern.status(), absl::StrCat(reader.name(), ": dynamic"));
  if (excludes) return QuantizationConfig::Rule{*pattern, {}};
  const ConfigReader overrides(value, absl::StrCat(reader.name(), ": dynamic of ", ShownText(key)));
  RETURN_IF_ERROR(overrides.RequireObject());
  RETURN_IF_ERROR(ReadNumbers(overrides, scheme));
  return QuantizationConfig::Rule{*pattern, scheme};
}

}  // namespace

absl::StatusOr<QuantizationRules> ReadGptqRules(const ConfigReader& reader) {
  GroupScheme scheme = {.layout = GroupLayout::kGptq};
  for (const char* key : {"bits", "group_size"}) {
    if (!reader.Has(key)) return reader.Refuse(key, "an integer");
  }
  RETURN_IF_ERROR(ReadNumbers(reader, scheme));
  RETURN_IF_ERROR(ReadFormat(reader, scheme));
  const json* words = reader.Find("pack_dtype");
  if (words != nullptr && *words != "int32") return reader.Refuse("pack_dtype", "int32");
  bool lm_head = false;
  RETURN_IF_ERROR(reader.OptionalBool("lm_head", lm_head));
  QuantizationRules rules;
  if (!lm_head) rules.push_back({NamePattern::Exactly("lm_head"), {}});
  const json* dynamic = reader.Find("dynamic");
  if (dynamic != nullptr && !dynamic->is_object()) return reader.Refuse("dynamic", "an object");
  if (dynamic != nullptr) {
    for (const auto& [key, value] : dynamic->items()) {
      ASSIGN_OR_RETURN(QuantizationConfig::Rule rule, ReadOverride(reader, key, value, scheme));
      rule.rank = 1;
      rules.push_back(std::move(rule));
    }
  }
  rules.push_back({NamePattern::Any(), scheme, 2});
  return rules;
}

}  // namespace thinkwire::worker::model
