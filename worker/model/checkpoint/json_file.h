#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace thinkwire::worker::model {

// Parses hostile JSON: refuses what is not JSON, duplicate keys and more than 16 levels. `name`
// opens the error message.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, absl::string_view name);

// Reads and parses a file of at most `max_bytes`. NOT_FOUND if there is none, INVALID_ARGUMENT
// otherwise; the message names the file.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::filesystem::path& path,
                                            std::size_t max_bytes);

}  // namespace thinkwire::worker::model
