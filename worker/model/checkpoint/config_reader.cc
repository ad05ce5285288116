#include "worker/model/checkpoint/config_reader.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/shown_text.h"
#include "common/utf8.h"

namespace thinkwire::worker::model {
using nlohmann::json;

ConfigReader::ConfigReader(const json& object, std::string name)
    : object_(object), name_(std::move(name)) {}

absl::Status ConfigReader::RequireObject() const {
  if (object_.is_object()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name_, ": not a JSON object"));
}

const json* ConfigReader::Find(absl::string_view key) const {
  const auto it = object_.find(std::string(key));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool ConfigReader::IsNull(absl::string_view key) const {
  const auto it = object_.find(std::string(key));
  return it != object_.end() && it->is_null();
}

std::string ConfigReader::Shown(absl::string_view key) const {
  const json* value = Find(key);
  if (value == nullptr) return "missing";
  return CutText(value->dump(-1, ' ', true, json::error_handler_t::replace), kMaxShownBytes);
}

absl::Status ConfigReader::Refuse(absl::string_view key, absl::string_view supported) const {
  return absl::InvalidArgumentError(
      absl::StrCat(name_, ": ", key, " is ", Shown(key), "; supported: ", supported));
}

absl::Status ConfigReader::Integer(absl::string_view key, std::int64_t low, std::int64_t high,
                                   std::int64_t& value) const {
  const json* found = Find(key);
  if (found == nullptr || !found->is_number_integer() || *found < low || *found > high) {
    return Refuse(key, absl::StrCat("an integer from ", low, " to ", high));
  }
  value = found->get<std::int64_t>();
  return absl::OkStatus();
}

absl::Status ConfigReader::Number(absl::string_view key, double low, double high,
                                  double& value) const {
  const json* found = Find(key);
  if (found == nullptr || !found->is_number()) {
    return Refuse(key, absl::StrCat("a number from ", low, " to ", high));
  }
  const double number = found->get<double>();
  if (!std::isfinite(number) || number < low || number > high) {
    return Refuse(key, absl::StrCat("a number from ", low, " to ", high));
  }
  value = number;
  return absl::OkStatus();
}

absl::Status ConfigReader::OptionalInteger(absl::string_view key, std::int64_t low,
                                           std::int64_t high, std::int64_t& value) const {
  return Has(key) ? Integer(key, low, high, value) : absl::OkStatus();
}

absl::Status ConfigReader::OptionalNumber(absl::string_view key, double low, double high,
                                          double& value) const {
  return Has(key) ? Number(key, low, high, value) : absl::OkStatus();
}

absl::Status ConfigReader::OptionalBool(absl::string_view key, bool& value) const {
  const json* found = Find(key);
  if (found == nullptr) return absl::OkStatus();
  if (!found->is_boolean()) return Refuse(key, "true or false");
  value = found->get<bool>();
  return absl::OkStatus();
}

absl::Status ConfigReader::OnlyBool(absl::string_view key, bool supported) const {
  const json* found = Find(key);
  if (found == nullptr || *found == supported) return absl::OkStatus();
  return Refuse(key, supported ? "true" : "false");
}

absl::Status ConfigReader::OnlyNumber(absl::string_view key, double supported) const {
  const json* found = Find(key);
  if (found == nullptr || (found->is_number() && found->get<double>() == supported)) {
    return absl::OkStatus();
  }
  return Refuse(key, absl::StrCat(supported));
}

}  // namespace thinkwire::worker::model
