#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace thinkwire {

// One `--name` of a command line. The target holds the default; an optional one is left alone
// unless the option is given.
struct Option {
  using Target = std::variant<std::string*, bool*, std::int32_t*, std::optional<std::int32_t>*,
                              std::optional<std::uint64_t>*, std::optional<float>*>;
  const char* name;  // with underscores
  Target target;
  const char* help;  // meaning, unit, range, and what unset means
};

// Reads `--name=value`, `--name value` and, for booleans, `--name`, `--noname` and `--name=false`;
// a dash in a name is the same as an underscore. `--` ends the options. Returns what is no option.
// Fails: INVALID_ARGUMENT, one sentence that names the option, for an unknown or repeated one, a
// missing value, or one that is not of its type. Ranges are the caller's to check.
absl::StatusOr<std::vector<std::string>> ParseOptions(std::span<const char* const> arguments,
                                                      std::span<const Option> options);

// The options, their defaults and meanings, for a help page.
std::string DescribeOptions(std::span<const Option> options);

}  // namespace thinkwire
