#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace thinkwire::worker {

// What a worker's YAML file says, as arguments of a command line: a map from options' names, dashes
// or underscores, to their values; a list is its words with commas between them. `source` names the
// file in errors. Which options there are, and what they take, is for who reads the arguments.
// Fails: INVALID_ARGUMENT, one line with place and key, for what is no such map, a key that is
// there twice or is `config`, and a value that is none.
absl::StatusOr<std::vector<std::string>> ParseConfigFile(const std::string& yaml,
                                                         const std::string& source);

// The same from a regular file. Fails also: NOT_FOUND; INVALID_ARGUMENT for one that is too long.
absl::StatusOr<std::vector<std::string>> ReadConfigFile(const std::string& path);

}  // namespace thinkwire::worker
