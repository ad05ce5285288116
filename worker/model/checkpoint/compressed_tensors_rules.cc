#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "worker/model/checkpoint/quantization_rules.h"

// compressed-tensors' config_groups: schemes, each with the modules that it is for.
namespace thinkwire::worker::model {
namespace {

using nlohmann::json;

constexpr char kClassOfAll[] = "Linear";

// "re:" and an expression, a module's name, or the class of all that can be quantised here.
absl::StatusOr<NamePattern> ReadTarget(const ConfigReader& reader, absl::string_view key,
                                       const std::string& target) {
  if (target == kClassOfAll) return NamePattern::Any();
  if (!absl::StartsWith(target, "re:")) return NamePattern::Exactly(target);
  absl::StatusOr<NamePattern> pattern = NamePattern::Regex(target.substr(3));
  if (pattern.ok()) return pattern;
  return Annotate(pattern.status(), absl::StrCat(reader.name(), ": ", std::string(key)));
}

// Of another class than Linear there are no matrices that could be left out or kept otherwise.
bool IsClassName(const std::string& target) {
  return target != "lm_head" && !absl::StartsWith(target, "re:") &&
         !absl::StrContains(target, ".") && target != kClassOfAll;
}

absl::Status ReadOrder(const ConfigReader& reader, GroupScheme& scheme) {
  const json* order = reader.Find("actorder");
  if (order == nullptr || *order == false || *order == "weight" || *order == "static") {
    return absl::OkStatus();
  }
  if (*order != true && *order != "group" && *order != "dynamic") {
    return reader.Refuse("actorder", "null, weight, static, group");
  }
  scheme.may_reorder = true;
  return absl::OkStatus();
}

absl::Status ReadStrategy(const ConfigReader& reader, GroupScheme& scheme) {
  const json* strategy = reader.Find("strategy");
  scheme.group_size = -1;
  if (strategy != nullptr && *strategy == "group") {
    RETURN_IF_ERROR(ReadGroupSize(reader, "group_size", scheme.group_size));
    if (scheme.group_size != -1) return absl::OkStatus();
    return reader.Refuse("group_size", "a multiple of 32, as strategy is group");
  }
  if (strategy != nullptr && *strategy == "channel") return absl::OkStatus();
  return reader.Refuse("strategy", "group, channel");
}

absl::StatusOr<GroupScheme> ReadWeights(const ConfigReader& reader) {
  GroupScheme scheme = {.layout = GroupLayout::kPackQuantized};
  RETURN_IF_ERROR(reader.RequireObject());
  const json* type = reader.Find("type");
  if (type != nullptr && *type != "int") return reader.Refuse("type", "int");
  std::int64_t bits = 8;
  if (!reader.OptionalInteger("num_bits", 4, 8, bits).ok() || (bits != 4 && bits != 8)) {
    return reader.Refuse("num_bits", "4, 8");
  }
  scheme.bits = static_cast<int>(bits);
  bool symmetric = true;
  RETURN_IF_ERROR(reader.OptionalBool("symmetric", symmetric));
  scheme.has_zeros = !symmetric;
  RETURN_IF_ERROR(reader.OnlyBool("dynamic", false));
  RETURN_IF_ERROR(ReadStrategy(reader, scheme));
  RETURN_IF_ERROR(ReadOrder(reader, scheme));
  return scheme;
}

absl::Status CheckFormat(const ConfigReader& reader, const ConfigReader& group) {
  const ConfigReader& said = group.Has("format") ? group : reader;
  const json* format = said.Find("format");
  if (format != nullptr && *format == "pack-quantized") return absl::OkStatus();
  return said.Refuse("format", "pack-quantized");
}

absl::Status ReadGroup(const ConfigReader& reader, const ConfigReader& group,
                       QuantizationRules& rules) {
  RETURN_IF_ERROR(group.RequireObject());
  RETURN_IF_ERROR(CheckFormat(reader, group));
  for (const char* key : {"input_activations", "output_activations"}) {
    if (group.Has(key)) return group.Refuse(key, "null");
  }
  if (!group.Has("weights")) return group.Refuse("weights", "an object");
  ASSIGN_OR_RETURN(const GroupScheme scheme,
                   ReadWeights({*group.Find("weights"), absl::StrCat(group.name(), ": weights")}));
  ASSIGN_OR_RETURN(const auto targets, ReadTexts(group, "targets"));
  for (const std::string& target : targets) {
    if (IsClassName(target)) {
      return group.Refuse("targets", "Linear, names of modules, expressions with re:");
    }
    ASSIGN_OR_RETURN(NamePattern pattern, ReadTarget(group, "targets", target));
    rules.push_back({std::move(pattern), scheme, 1});
  }
  return absl::OkStatus();
}

// What would change the numbers and is not honoured.
absl::Status RefuseFurther(const ConfigReader& reader) {
  for (const char* key : {"kv_cache_scheme", "transform_config"}) {
    const json* found = reader.Find(key);
    if (found != nullptr && !found->empty()) return reader.Refuse(key, "null");
  }
  const json* sparsity = reader.Find("sparsity_config");
  if (sparsity == nullptr || sparsity->empty() ||
      (sparsity->is_object() && sparsity->value("format", json()) == "dense")) {
    return absl::OkStatus();
  }
  return reader.Refuse("sparsity_config", "null, format dense");
}

}  // namespace

absl::StatusOr<QuantizationRules> ReadCompressedTensorsRules(const ConfigReader& reader) {
  RETURN_IF_ERROR(RefuseFurther(reader));
  QuantizationRules rules;
  ASSIGN_OR_RETURN(const auto ignored, ReadTexts(reader, "ignore"));
  for (const std::string& name : ignored) {
    if (IsClassName(name)) continue;
    ASSIGN_OR_RETURN(NamePattern pattern, ReadTarget(reader, "ignore", name));
    rules.push_back({std::move(pattern), {}});
  }
  const json* groups = reader.Find("config_groups");
  if (groups == nullptr || !groups->is_object()) {
    return reader.Refuse("config_groups", "an object");
  }
  for (const auto& [name, group] : groups->items()) {
    RETURN_IF_ERROR(ReadGroup(
        reader,
        ConfigReader(group, absl::StrCat(reader.name(), ": config_groups ", ShownText(name))),
        rules));
  }
  return rules;
}

}  // namespace thinkwire::worker::model
