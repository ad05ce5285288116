#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace thinkwire::worker::model {

// Reads keys of one JSON object; errors name the file, the key, its value and what is supported.
// A null value counts as an absent key.
class ConfigReader {
 public:
  // `object` must outlive the reader. `name` opens each message.
  ConfigReader(const nlohmann::json& object, std::string name);

  const std::string& name() const { return name_; }

  absl::Status RequireObject() const;
  const nlohmann::json* Find(absl::string_view key) const;  // null if absent
  bool Has(absl::string_view key) const { return Find(key) != nullptr; }
  bool IsNull(absl::string_view key) const;  // there, and null

  // The key must be there, of the type, and within [low, high].
  absl::Status Integer(absl::string_view key, std::int64_t low, std::int64_t high,
                       std::int64_t& value) const;
  absl::Status Number(absl::string_view key, double low, double high, double& value) const;

  // Leave `value` where the key is absent.
  absl::Status OptionalInteger(absl::string_view key, std::int64_t low, std::int64_t high,
                               std::int64_t& value) const;
  absl::Status OptionalNumber(absl::string_view key, double low, double high, double& value) const;
  absl::Status OptionalBool(absl::string_view key, bool& value) const;

  // The key must be absent or have this value.
  absl::Status OnlyBool(absl::string_view key, bool supported) const;
  absl::Status OnlyNumber(absl::string_view key, double supported) const;

  // "config.json: hidden_act is "gelu"; supported: silu"
  absl::Status Refuse(absl::string_view key, absl::string_view supported) const;

  // The value as a message shows it: on one line, short; "missing" if absent.
  std::string Shown(absl::string_view key) const;

 private:
  const nlohmann::json& object_;
  std::string name_;
};

}  // namespace thinkwire::worker::model
