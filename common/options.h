#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"

namespace thinkwire {

// Which values of its type an option takes, beside its default.
struct Allowed {
  std::optional<double> min = std::nullopt;  // of a number
  std::optional<double> max = std::nullopt;  // likewise; only beside a min
  const char* choices = "";                  // of a string, separated by '|'; empty: any
};
constexpr Allowed AtLeast(double min) { return {.min = min}; }
constexpr Allowed Between(double min, double max) { return {.min = min, .max = max}; }
constexpr Allowed OneOf(const char* choices) { return {.choices = choices}; }

// One `--name` of a command line. The target holds the default; an optional one is left alone
// unless the option is given.
struct Option {
  using Target = std::variant<std::string*, bool*, std::int32_t*, std::int64_t*, double*,
                              std::optional<std::int32_t>*, std::optional<std::uint64_t>*,
                              std::optional<float>*>;
  const char* name;  // with underscores
  Target target;
  const char* help;  // meaning, unit, and what 0, empty or unset means; null: not on the help page
  Allowed allowed = {};
};

// Reads `--name=value`, `--name value` and, for booleans, `--name`, `--noname` and `--name=false`;
// a dash in a name is the same as an underscore. `--` ends the options. Returns what is no option.
// Fails: INVALID_ARGUMENT, one sentence that names the option, for an unknown or repeated one, a
// missing value, or one that is not of its type or not allowed.
absl::StatusOr<std::vector<std::string>> ParseOptions(std::span<const char* const> arguments,
                                                      std::span<const Option> options);

// The options, their defaults, meanings and what is allowed, for a help page.
std::string DescribeOptions(std::span<const Option> options);

// "name=value" of every option, in their order, separated by a blank; "name=" where it is unset.
std::string OptionValues(std::span<const Option> options);

}  // namespace thinkwire
