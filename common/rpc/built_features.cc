#include "common/rpc/built_features.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;

const std::set<std::string>& NotBuiltFields() {
  static const auto& names = *new std::set<std::string>{
      "resume.outputs.finish_reason",
  };
  return names;
}

void AddIfBuilt(const std::string& name, std::vector<std::string>& names) {
  if (!NotBuiltFields().contains(name)) names.push_back(name);
}

void AddValues(const EnumDescriptor& type, const std::string& path,
               std::vector<std::string>& names) {
  for (int i = 0; i < type.value_count(); ++i) {
    if (type.value(i)->number() == 0) continue;
    AddIfBuilt(absl::StrCat(path, "=", type.value(i)->name()), names);
  }
}

// Messages of Google's are values, whose fields nobody asks for.
bool HasFieldsOfOurs(const FieldDescriptor& field) {
  return field.message_type() != nullptr && !field.is_map() &&
         !absl::StartsWith(field.message_type()->full_name(), "google.");
}

void AddFields(const Descriptor& type, const std::string& prefix, std::vector<std::string>& names) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    const std::string path = prefix + field.name();
    if (NotBuiltFields().contains(path)) continue;
    names.push_back(path);
    if (field.enum_type() != nullptr) AddValues(*field.enum_type(), path, names);
    if (HasFieldsOfOurs(field)) AddFields(*field.message_type(), path + ".", names);
  }
}

}  // namespace

std::vector<std::string> BuiltMethods() {
  std::vector<std::string> names;
  const auto& service =
      *v1::GenerateRequest::descriptor()->file()->FindServiceByName("ReasoningService");
  for (int i = 0; i < service.method_count(); ++i) {
    names.push_back(service.method(i)->name());
  }
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> BuiltGenerateFields() {
  std::vector<std::string> names;
  AddFields(*v1::GenerateRequest::descriptor(), "", names);
  std::ranges::sort(names);
  return names;
}

}  // namespace thinkwire::rpc
