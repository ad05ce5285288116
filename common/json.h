#pragma once

#include <cstddef>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/input_limits.h"

namespace thinkwire {

// What a document may cost before we refuse it.
struct JsonLimits {
  std::size_t max_bytes = kMaxTensorHeaderBytes;  // the largest that anything here has
  int max_depth = kMaxJsonDepth;
  std::size_t max_values = kMaxJsonValues;  // of any kind; each takes some 50 bytes of memory
};

// The members of one object that has too many for a tree of them to be quick: in the text's order.
struct JsonMembers {
  std::string_view parent;  // a key of the document
  std::string_view name;    // the object's key in there
  std::vector<std::pair<std::string, nlohmann::json>> members;
};

// Reads JSON that anybody may have written. Refused is what is no JSON in UTF-8, what passes the
// limits and, as two readers could then see two documents in one text, a key that an object has
// twice. Nesting in the text is no depth of calls.
// Fails: INVALID_ARGUMENT. The message opens with `name` and says at which byte the text stops
// being JSON, or under which path ("model.vocab") a key is refused; it is UTF-8 and short whatever
// the text holds.
// With `apart`, the object that it names is empty in the document and its members are in there; one
// that is there twice is refused at the object's end.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view name,
                                         const JsonLimits& limits = {},
                                         JsonMembers* apart = nullptr);

// Reads a regular file (common/file.h) as ParseJson does; messages open with its path.
// Fails: NOT_FOUND there is none; else INVALID_ARGUMENT.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::filesystem::path& path,
                                            const JsonLimits& limits = {},
                                            JsonMembers* apart = nullptr);

}  // namespace thinkwire
