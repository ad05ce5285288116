#include "worker/grammar/schema_document.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/json.h"
#include "common/peer_limits.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"
#include "worker/grammar/string_formats.h"

namespace thinkwire::worker::grammar {
namespace {

constexpr std::size_t kShownBytes = 200;

bool IsSchema(const SchemaJson& value) { return value.is_object() || value.is_boolean(); }
bool IsSchemas(const SchemaJson& value) {
  if (!value.is_array() || value.empty()) return false;
  for (const SchemaJson& schema : value) {
    if (!IsSchema(schema)) return false;
  }
  return true;
}
bool IsNamedSchemas(const SchemaJson& value) {
  if (!value.is_object()) return false;
  for (const SchemaJson& schema : value) {
    if (!IsSchema(schema)) return false;
  }
  return true;
}
bool IsCount(const SchemaJson& value) {
  if (!value.is_number()) return false;
  const double number = value.get<double>();
  return number >= 0 && number == std::floor(number);
}
bool IsNumber(const SchemaJson& value) { return value.is_number(); }
bool IsString(const SchemaJson& value) { return value.is_string(); }
bool IsStrings(const SchemaJson& value) {
  if (!value.is_array()) return false;
  for (const SchemaJson& name : value) {
    if (!name.is_string()) return false;
  }
  return true;
}
bool IsTypeName(const SchemaJson& value) {
  if (!value.is_string()) return false;
  for (const char* name : {"null", "boolean", "integer", "number", "string", "array", "object"}) {
    if (value == name) return true;
  }
  return false;
}
bool IsType(const SchemaJson& value) {
  if (!value.is_array()) return IsTypeName(value);
  for (const SchemaJson& name : value) {
    if (!IsTypeName(name)) return false;
  }
  return !value.empty();
}
bool IsValues(const SchemaJson& value) { return value.is_array() && !value.empty(); }
bool IsAnything(const SchemaJson&) { return true; }
bool IsFormat(const SchemaJson& value) {
  return value.is_string() && FormatPattern(value.get_ref<const std::string&>()).has_value();
}
bool IsDraft(const SchemaJson& value) {
  if (!value.is_string()) return false;
  const std::string& name = value.get_ref<const std::string&>();
  for (const char* draft :
       {"draft-06/schema", "draft-07/schema", "2019-09/schema", "2020-12/schema"}) {
    if (name.find(draft) != std::string::npos) return true;
  }
  return false;
}

struct Keyword {
  const char* name;
  bool (*allows)(const SchemaJson&);
  const char* what;  // it must be
};

constexpr std::array<Keyword, 32> kKeywords = {{
    {"$schema", IsDraft, "draft-06, draft-07, 2019-09 or 2020-12"},
    {"$comment", IsString, "a string"},
    {"title", IsString, "a string"},
    {"description", IsString, "a string"},
    {"default", IsAnything, ""},
    {"examples", IsAnything, ""},
    {"deprecated", IsAnything, ""},
    {"readOnly", IsAnything, ""},
    {"writeOnly", IsAnything, ""},
    {"$defs", IsNamedSchemas, "an object of schemas"},
    {"definitions", IsNamedSchemas, "an object of schemas"},
    {"$ref", IsString, "a string"},
    {"type", IsType, "the name of a type, or a list of them"},
    {"enum", IsValues, "a list of values, not empty"},
    {"const", IsAnything, ""},
    {"properties", IsNamedSchemas, "an object of schemas"},
    {"required", IsStrings, "a list of names"},
    {"additionalProperties", IsSchema, "a schema"},
    {"items", IsSchema, "a schema (the schemas of single items: prefixItems)"},
    {"prefixItems", IsSchemas, "a list of schemas, not empty"},
    {"minItems", IsCount, "an integer of 0 or more"},
    {"maxItems", IsCount, "an integer of 0 or more"},
    {"minLength", IsCount, "an integer of 0 or more"},
    {"maxLength", IsCount, "an integer of 0 or more"},
    {"minimum", IsNumber, "a number"},
    {"maximum", IsNumber, "a number"},
    {"pattern", IsString, "a string"},
    {"format", IsFormat, "date, date-time, uuid or email: no other format is supported"},
    {"anyOf", IsSchemas, "a list of schemas, not empty"},
    {"oneOf", IsSchemas, "a list of schemas, not empty"},
    {"allOf", IsSchemas, "a list of schemas, not empty"},
    // What says where a schema comes from, at the root alone: below, it would move what `$ref`
    // means.
    {"$id", IsString, "a string"},
}};

const Keyword* FindKeyword(std::string_view name) {
  for (const Keyword& keyword : kKeywords) {
    if (name == keyword.name) return &keyword;
  }
  return nullptr;
}

std::string EscapePointer(std::string_view name) {
  return absl::StrReplaceAll(View(name), {{"~", "~0"}, {"/", "~1"}});
}

// One name of a pointer in a URI's fragment.
std::optional<std::string> UnescapePointer(std::string_view name) {
  std::string text;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '%') {
      text += name[i];
      continue;
    }
    if (i + 2 >= name.size() || !absl::ascii_isxdigit(name[i + 1]) ||
        !absl::ascii_isxdigit(name[i + 2])) {
      return std::nullopt;
    }
    text += absl::HexStringToBytes(View(name.substr(i + 1, 2)));
    i += 2;
  }
  return absl::StrReplaceAll(text, {{"~1", "/"}, {"~0", "~"}});
}

// The member, or the element, that a pointer's name names; null: there is none.
const SchemaJson* Step(const SchemaJson& value, const std::string& name) {
  if (value.is_object()) {
    const auto member = value.find(name);
    return member == value.end() ? nullptr : &*member;
  }
  std::size_t index = 0;
  if (!value.is_array() || !absl::SimpleAtoi(name, &index)) return nullptr;
  return index < value.size() ? &value[index] : nullptr;
}

}  // namespace

const SchemaJson* SchemaPart::Find(std::string_view keyword) const {
  if (!schema->is_object()) return nullptr;
  const auto member = schema->find(std::string(keyword));
  return member == schema->end() ? nullptr : &*member;
}

SchemaPart SchemaPart::Under(std::string_view keyword, const SchemaJson& value) const {
  return {&value, absl::StrCat(pointer, "/", EscapePointer(keyword))};
}

absl::Status SchemaError(std::string_view pointer, std::string_view what) {
  const std::string shown = pointer.empty() ? "the root" : CutText(pointer, kShownBytes);
  return absl::InvalidArgumentError(absl::StrCat("json_schema: ", shown, ": ", View(what)));
}

absl::StatusOr<SchemaDocument> SchemaDocument::Parse(std::string_view text) {
  JsonLimits limits;
  limits.max_bytes = kMaxSchemaBytes;
  limits.max_values = kMaxSchemaValues;
  RETURN_IF_ERROR(ParseJson(text, "json_schema", limits).status());
  auto document = std::make_unique<const SchemaJson>(SchemaJson::parse(text));
  if (!IsSchema(*document)) return SchemaError("", "a schema is an object, true or false");
  return SchemaDocument(std::move(document));
}

absl::StatusOr<SchemaPart> SchemaDocument::Resolve(const SchemaPart& from) const {
  const std::string& ref = from.Find("$ref")->get_ref<const std::string&>();
  const std::string at = from.pointer + "/$ref";
  if (ref != "#" && ref.substr(0, 2) != "#/") {
    return SchemaError(at, "only references into the schema itself are supported: #, #/$defs/NAME");
  }
  SchemaPart part{document_.get(), ref.substr(1)};
  std::string_view rest = part.pointer;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('/', 1), rest.size());
    const std::optional<std::string> name = UnescapePointer(rest.substr(1, end - 1));
    part.schema = name.has_value() ? Step(*part.schema, *name) : nullptr;
    if (part.schema == nullptr) return SchemaError(at, "there is nothing that it names");
    rest.remove_prefix(end);
  }
  if (!IsSchema(*part.schema)) return SchemaError(at, "it names no schema");
  return part;
}

absl::Status SchemaDocument::Check(const SchemaPart& part) {
  if (!part.schema->is_object() || !checked_.insert(part.schema).second) return absl::OkStatus();
  for (const auto& [name, value] : part.schema->items()) {
    const Keyword* keyword = FindKeyword(name);
    const std::string pointer = part.Under(name, value).pointer;
    if (keyword == nullptr) return SchemaError(pointer, "this keyword is not supported");
    if (name == "$id" && part.schema != document_.get()) {
      return SchemaError(pointer, "this keyword is supported at the root only");
    }
    if (!keyword->allows(value)) {
      return SchemaError(pointer, absl::StrCat("it must be ", keyword->what));
    }
  }
  return absl::OkStatus();
}

}  // namespace thinkwire::worker::grammar
