#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

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

// A module's own name goes before expressions, and these before the class, as in
// compressed-tensors' match_targets. Of two expressions that match it takes the one that sorts
// first, and others the one that stands first: those must agree.
int RankOf(const std::string& target) {
  if (target == kClassOfAll) return 3;
  return absl::StartsWith(target, "re:") ? 2 : 1;
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

// How far a scale goes.
absl::Status ReadStrategy(const ConfigReader& reader, GroupScheme& scheme) {
  const json* strategy = reader.Find("strategy");
  const bool is_float = scheme.layout == GroupLayout::kFloatQuantized;
  const bool is_packed = scheme.layout == GroupLayout::kPackQuantized;
  scheme.group_size = -1;
  if (strategy != nullptr && *strategy == "channel") return absl::OkStatus();
  if (strategy != nullptr && *strategy == "group" && is_packed) {
    RETURN_IF_ERROR(ReadGroupSize(reader, "group_size", scheme.group_size));
    if (scheme.group_size != -1) return absl::OkStatus();
    return reader.Refuse("group_size", "a multiple of 32, as strategy is group");
  }
  if (strategy != nullptr && *strategy == "tensor" && is_float) {
    scheme.scale_rows = -1;
    return absl::OkStatus();
  }
  if (strategy != nullptr && *strategy == "block" && is_float) {
    const json* block = reader.Find("block_structure");
    if (block == nullptr || *block != json::array({kFp8Block, kFp8Block})) {
      return reader.Refuse("block_structure", "[128, 128]");
    }
    scheme.scale_rows = scheme.group_size = kFp8Block;
    return absl::OkStatus();
  }
  return reader.Refuse("strategy", is_float    ? "channel, tensor, block"
                                   : is_packed ? "group, channel"
                                               : "channel");
}

absl::Status ReadWeights(const ConfigReader& reader, GroupScheme& scheme) {
  RETURN_IF_ERROR(reader.RequireObject());
  const bool is_packed = scheme.layout == GroupLayout::kPackQuantized;
  const std::string type = scheme.layout == GroupLayout::kFloatQuantized ? "float" : "int";
  if (reader.Has("type") && *reader.Find("type") != type) return reader.Refuse("type", type);
  std::int64_t bits = 8;
  if (!reader.OptionalInteger("num_bits", 4, 8, bits).ok() ||
      (bits != 8 && (bits != 4 || !is_packed))) {
    return reader.Refuse("num_bits", is_packed ? "4, 8" : "8");
  }
  scheme.bits = static_cast<int>(bits);
  bool symmetric = true;
  RETURN_IF_ERROR(reader.OptionalBool("symmetric", symmetric));
  if (!symmetric && !is_packed) return reader.Refuse("symmetric", "true");
  scheme.has_zeros = !symmetric;
  RETURN_IF_ERROR(reader.OnlyBool("dynamic", false));
  RETURN_IF_ERROR(ReadStrategy(reader, scheme));
  return is_packed ? ReadOrder(reader, scheme) : absl::OkStatus();
}

absl::Status ReadFormat(const ConfigReader& reader, const ConfigReader& group,
                        GroupScheme& scheme) {
  const ConfigReader& said = group.Has("format") ? group : reader;
  const json* format = said.Find("format");
  if (format != nullptr && *format == "pack-quantized") {
    scheme.layout = GroupLayout::kPackQuantized;
  } else if (format != nullptr && *format == "int-quantized") {
    scheme.layout = GroupLayout::kIntQuantized;
  } else if (format != nullptr && *format == "float-quantized") {
    scheme.layout = GroupLayout::kFloatQuantized;
  } else {
    return said.Refuse("format", "pack-quantized, int-quantized, float-quantized");
  }
  return absl::OkStatus();
}

// Activations that would be rounded as they come are computed with as they are. Scales that were
// measured ahead of them are of no use then.
absl::Status CheckActivations(const ConfigReader& group) {
  if (group.Has("output_activations")) return group.Refuse("output_activations", "null");
  const json* input = group.Find("input_activations");
  if (input == nullptr) return absl::OkStatus();
  const ConfigReader reader(*input, absl::StrCat(group.name(), ": input_activations"));
  RETURN_IF_ERROR(reader.RequireObject());
  if (reader.Has("dynamic") && *reader.Find("dynamic") == true) return absl::OkStatus();
  return reader.Refuse("dynamic", "true");
}

absl::Status ReadGroup(const ConfigReader& reader, const ConfigReader& group,
                       QuantizationRules& rules) {
  RETURN_IF_ERROR(group.RequireObject());
  GroupScheme scheme;
  RETURN_IF_ERROR(ReadFormat(reader, group, scheme));
  RETURN_IF_ERROR(CheckActivations(group));
  if (!group.Has("weights")) return group.Refuse("weights", "an object");
  RETURN_IF_ERROR(
      ReadWeights({*group.Find("weights"), absl::StrCat(group.name(), ": weights")}, scheme));
  ASSIGN_OR_RETURN(const auto targets, ReadTexts(group, "targets"));
  for (const std::string& target : targets) {
    if (IsClassName(target)) {
      return group.Refuse("targets", "Linear, names of modules, expressions with re:");
    }
    ASSIGN_OR_RETURN(NamePattern pattern, ReadTarget(group, "targets", target));
    rules.push_back({std::move(pattern), scheme, RankOf(target)});
  }
  return absl::OkStatus();
}

// What would change the numbers and is not honoured.
absl::Status RefuseFurther(const ConfigReader& reader) {
  const json* transform = reader.Find("transform_config");
  if (transform != nullptr && !transform->empty()) return reader.Refuse("transform_config", "null");
  const json* sparsity = reader.Find("sparsity_config");
  if (sparsity == nullptr || sparsity->empty() ||
      (sparsity->is_object() && sparsity->value("format", json()) == "dense")) {
    return absl::OkStatus();
  }
  return reader.Refuse("sparsity_config", "null, format dense");
}

}  // namespace

absl::StatusOr<bool> ReadFp8KvCacheScheme(const ConfigReader& reader) {
  constexpr char kKey[] = "kv_cache_scheme";
  const json* found = reader.Find(kKey);
  if (found == nullptr || found->empty()) return false;
  const ConfigReader scheme(*found, absl::StrCat(reader.name(), ": ", kKey));
  RETURN_IF_ERROR(scheme.RequireObject());
  const std::pair<const char*, json> supported[] = {{"num_bits", 8},
                                                    {"type", "float"},
                                                    {"strategy", "tensor"},
                                                    {"symmetric", true},
                                                    {"dynamic", false}};
  for (const auto& [key, value] : supported) {
    const json* said = scheme.Find(key);
    const bool may_be_absent = value.is_boolean();
    if (said == nullptr ? may_be_absent : *said == value) continue;
    return scheme.Refuse(key, value.dump());
  }
  return true;
}

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
  std::ranges::stable_sort(rules, {}, &QuantizationConfig::Rule::rank);
  return rules;
}

}  // namespace thinkwire::worker::model
