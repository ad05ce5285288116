#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "worker/model/checkpoint/config_reader.h"

namespace thinkwire::worker::model {

// Reads one model's keys, which begin with its architecture. Refers to what it is made of.
class GgufKeys {
 public:
  GgufKeys(const ConfigReader& reader, absl::string_view family)
      : reader_(reader), family_(family) {}

  const ConfigReader& reader() const { return reader_; }
  std::string Of(absl::string_view key) const { return absl::StrCat(family_, ".", key); }

  absl::Status Size(absl::string_view key, std::int64_t most, std::int64_t& value,
                    std::int64_t least = 1) const {
    return reader_.Integer(Of(key), least, most, value);
  }
  absl::Status OptionalSize(absl::string_view key, std::int64_t most, std::int64_t& value,
                            std::int64_t least = 1) const {
    return reader_.OptionalInteger(Of(key), least, most, value);
  }
  bool Has(absl::string_view key) const { return reader_.Has(Of(key)); }
  absl::Status Refuse(absl::string_view key, absl::string_view supported) const {
    return reader_.Refuse(Of(key), supported);
  }

 private:
  const ConfigReader& reader_;
  const absl::string_view family_;
};

}  // namespace thinkwire::worker::model
