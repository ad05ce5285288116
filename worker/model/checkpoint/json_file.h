#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/json.h"

namespace thinkwire::worker::model {

// Nothing in a checkpoint nests deeper.
inline constexpr int kMaxJsonDepth = 16;

// common/json.h's functions with a checkpoint's limits.
inline absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, absl::string_view name) {
  return thinkwire::ParseJson({text.data(), text.size()}, {name.data(), name.size()},
                              {.max_depth = kMaxJsonDepth});
}
inline absl::StatusOr<nlohmann::json> ReadJsonFile(const std::filesystem::path& path,
                                                   std::size_t max_bytes) {
  return thinkwire::ReadJsonFile(path, {.max_bytes = max_bytes, .max_depth = kMaxJsonDepth});
}

}  // namespace thinkwire::worker::model
