#pragma once

#include <cstddef>
#include <istream>
#include <string>

#include "absl/status/statusor.h"

namespace thinkwire {

// Reads one line of `in` into `line`, without its end. False, and `line` is empty, if there is
// none. Fails: INVALID_ARGUMENT for a line of more than `max_bytes`, of which no more are read.
absl::StatusOr<bool> ReadLine(std::istream& in, std::size_t max_bytes, std::string& line);

// Reads `in` to its end. Fails: INVALID_ARGUMENT if that is more than `max_bytes`, likewise.
absl::StatusOr<std::string> ReadToEnd(std::istream& in, std::size_t max_bytes);

}  // namespace thinkwire
