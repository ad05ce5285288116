#include "worker/grammar/schema_conjunction.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/status.h"

namespace thinkwire::worker::grammar {
namespace {

unsigned TypeNamed(std::string_view name) {
  if (name == "null") return kNull;
  if (name == "boolean") return kBoolean;
  if (name == "integer") return kInteger;
  if (name == "number") return kInteger | kFraction;
  if (name == "string") return kString;
  return name == "array" ? kArray : kObject;
}

unsigned TypesNamed(const SchemaJson& type) {
  if (type.is_string()) return TypeNamed(type.get_ref<const std::string&>());
  unsigned types = 0;
  for (const SchemaJson& name : type) types |= TypeNamed(name.get_ref<const std::string&>());
  return types;
}

bool Has(const std::vector<SchemaJson>& values, const SchemaJson& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

void KeepOnly(const std::vector<SchemaJson>& allowed,
              std::optional<std::vector<SchemaJson>>* values) {
  if (!values->has_value()) {
    *values = allowed;
    return;
  }
  std::erase_if(**values, [&allowed](const SchemaJson& value) { return !Has(allowed, value); });
}

std::int32_t Count(const SchemaJson& value) {
  return static_cast<std::int32_t>(std::min(value.get<double>(), double{1 << 30}));
}

// The values that a property must have one of, as far as `properties` says it directly.
std::optional<std::vector<SchemaJson>> DirectValues(const Conjunction& conjunction,
                                                    const std::string& name) {
  Conjunction property;
  for (const SchemaPart& part : conjunction.parts) {
    const SchemaJson* properties = part.Find("properties");
    if (properties == nullptr || properties->find(name) == properties->end()) continue;
    property.parts.push_back({&(*properties)[name], ""});
  }
  return property.values();
}

bool HaveNoneInCommon(const std::vector<SchemaJson>& a, const std::vector<SchemaJson>& b) {
  return std::none_of(a.begin(), a.end(), [&b](const SchemaJson& value) { return Has(b, value); });
}

}  // namespace

unsigned TypesOf(const SchemaJson& value) {
  if (value.is_null()) return kNull;
  if (value.is_boolean()) return kBoolean;
  if (value.is_string()) return kString;
  if (value.is_array()) return kArray;
  if (value.is_object()) return kObject;
  const double number = value.get<double>();
  return number == std::floor(number) ? kInteger : kFraction;
}

absl::Status Conjunction::Add(const SchemaPart& part, const std::vector<const SchemaJson*>& path,
                              SchemaDocument& document) {
  if (part.schema->is_boolean()) {
    nothing = nothing || !part.schema->get<bool>();
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(document.Check(part));
  if (std::find(path.begin(), path.end(), part.schema) != path.end()) {
    return SchemaError(part.pointer, "it leads back to itself with no value between");
  }
  if (path.size() >= kMaxSchemaDepth) {
    return SchemaError(part.pointer,
                       absl::StrCat("more than ", kMaxSchemaDepth, " schemas lead to each other"));
  }
  // Said twice it says no more; followed each time, n schemas in a row that name the next one twice
  // would be 2^n.
  if (!held.insert(part.schema).second) return absl::OkStatus();
  std::vector<const SchemaJson*> inner = path;
  inner.push_back(part.schema);
  parts.push_back(part);
  for (const char* keyword : {"anyOf", "oneOf"}) {
    const SchemaJson* list = part.Find(keyword);
    if (list == nullptr) continue;
    choices.push_back({part.Under(keyword, *list), std::string_view(keyword) == "oneOf", inner});
  }
  if (part.Find("$ref") != nullptr) {
    ASSIGN_OR_RETURN(const SchemaPart target, document.Resolve(part));
    RETURN_IF_ERROR(Add(target, inner, document));
  }
  const SchemaJson* all = part.Find("allOf");
  if (all == nullptr) return absl::OkStatus();
  const SchemaPart list = part.Under("allOf", *all);
  for (std::size_t i = 0; i < all->size(); ++i) {
    RETURN_IF_ERROR(Add(list.Under(absl::StrCat(i), (*all)[i]), inner, document));
  }
  return absl::OkStatus();
}

unsigned Conjunction::types() const {
  unsigned types = kAllTypes;
  for (const SchemaPart& part : parts) {
    if (const SchemaJson* type = part.Find("type")) types &= TypesNamed(*type);
  }
  return types;
}

std::optional<std::vector<SchemaJson>> Conjunction::values() const {
  std::optional<std::vector<SchemaJson>> values;
  for (const SchemaPart& part : parts) {
    if (const SchemaJson* list = part.Find("enum")) KeepOnly({list->begin(), list->end()}, &values);
    if (const SchemaJson* value = part.Find("const")) KeepOnly({*value}, &values);
  }
  if (values.has_value()) {
    const unsigned allowed = types();
    std::erase_if(*values,
                  [allowed](const auto& value) { return (TypesOf(value) & allowed) == 0; });
  }
  return values;
}

std::int32_t Conjunction::Largest(std::string_view keyword, std::int32_t otherwise) const {
  std::int32_t largest = otherwise;
  for (const SchemaPart& part : parts) {
    if (const SchemaJson* value = part.Find(keyword)) largest = std::max(largest, Count(*value));
  }
  return largest;
}

std::int32_t Conjunction::Smallest(std::string_view keyword, std::int32_t otherwise) const {
  std::int32_t smallest = otherwise;
  for (const SchemaPart& part : parts) {
    if (const SchemaJson* value = part.Find(keyword)) smallest = std::min(smallest, Count(*value));
  }
  return smallest;
}

const SchemaPart* Conjunction::PartWith(std::string_view keyword) const {
  for (const SchemaPart& part : parts) {
    if (part.Find(keyword) != nullptr) return &part;
  }
  return nullptr;
}

std::vector<SchemaPart> Conjunction::Property(const std::string& name) const {
  std::vector<SchemaPart> found;
  for (const SchemaPart& part : parts) {
    const SchemaJson* properties = part.Find("properties");
    if (properties != nullptr && properties->find(name) != properties->end()) {
      const SchemaPart list = part.Under("properties", *properties);
      found.push_back(list.Under(name, (*properties)[name]));
    } else if (const SchemaJson* further = part.Find("additionalProperties")) {
      found.push_back(part.Under("additionalProperties", *further));
    }
  }
  return found;
}

std::vector<SchemaPart> Conjunction::FurtherProperties() const {
  std::vector<SchemaPart> found;
  for (const SchemaPart& part : parts) {
    const SchemaJson* further = part.Find("additionalProperties");
    if (further != nullptr) found.push_back(part.Under("additionalProperties", *further));
  }
  return found;
}

std::vector<SchemaPart> Conjunction::Item(std::size_t index) const {
  std::vector<SchemaPart> found;
  for (const SchemaPart& part : parts) {
    const SchemaJson* prefix = part.Find("prefixItems");
    if (prefix != nullptr && index < prefix->size()) {
      const SchemaPart list = part.Under("prefixItems", *prefix);
      found.push_back(list.Under(absl::StrCat(index), (*prefix)[index]));
    } else if (const SchemaJson* items = part.Find("items")) {
      found.push_back(part.Under("items", *items));
    }
  }
  return found;
}

std::vector<std::string> Conjunction::PropertyNames() const {
  std::vector<std::string> names;
  std::unordered_set<std::string> known;
  for (const SchemaPart& part : parts) {
    const SchemaJson* properties = part.Find("properties");
    if (properties == nullptr) continue;
    for (const auto& [name, schema] : properties->items()) {
      if (known.insert(name).second) names.push_back(name);
    }
  }
  for (const SchemaPart& part : parts) {
    const SchemaJson* required = part.Find("required");
    if (required == nullptr) continue;
    for (const SchemaJson& name : *required) {
      if (known.insert(name).second) names.push_back(name);
    }
  }
  return names;
}

bool Conjunction::IsRequired(const std::string& name) const {
  return std::any_of(parts.begin(), parts.end(), [&name](const SchemaPart& part) {
    const SchemaJson* required = part.Find("required");
    return required != nullptr &&
           std::find(required->begin(), required->end(), name) != required->end();
  });
}

std::size_t Conjunction::num_prefix_items() const {
  std::size_t most = 0;
  for (const SchemaPart& part : parts) {
    if (const SchemaJson* prefix = part.Find("prefixItems")) most = std::max(most, prefix->size());
  }
  return most;
}

bool AreSurelyApart(const Conjunction& a, const Conjunction& b) {
  if (a.nothing || b.nothing) return true;
  const unsigned common = a.types() & b.types();
  if (common == 0) return true;
  const auto a_values = a.values(), b_values = b.values();
  if (a_values.has_value() && b_values.has_value()) return HaveNoneInCommon(*a_values, *b_values);
  if (common != kObject) return false;
  for (const std::string& name : a.PropertyNames()) {
    if (!a.IsRequired(name) || !b.IsRequired(name)) continue;
    const auto a_property = DirectValues(a, name), b_property = DirectValues(b, name);
    if (a_property.has_value() && b_property.has_value() &&
        HaveNoneInCommon(*a_property, *b_property)) {
      return true;
    }
  }
  return false;
}

}  // namespace thinkwire::worker::grammar
