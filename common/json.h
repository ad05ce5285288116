#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/input_limits.h"

namespace thinkwire {

// What a document may cost before we refuse it.
struct JsonLimits {
  std::size_t max_bytes = kMaxTensorHeaderBytes;  // the largest that anything here has
  int max_depth = kMaxJsonDepth;
  std::size_t max_values = kMaxJsonValues;  // of any kind; each takes some 50 bytes of memory
};

// Reads JSON that anybody may have written. Refused is what is no JSON in UTF-8, what passes the
// limits and, as two readers could then see two documents in one text, a key that an object has
// twice. Nesting in the text is no depth of calls.
// Fails: INVALID_ARGUMENT. The message opens with `name` and says at which byte the text stops
// being JSON, or under which path ("model.vocab") a key is refused; it is UTF-8 and short whatever
// the text holds.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view name,
                                         const JsonLimits& limits = {});

// Reads a regular file (common/file.h) as ParseJson does; messages open with its path.
// Fails: NOT_FOUND there is none; else INVALID_ARGUMENT.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::filesystem::path& path,
                                            const JsonLimits& limits = {});

}  // namespace thinkwire
