#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace thinkwire {

// Which values of its type an option takes, beside its default.
struct Allowed {
  std::optional<double> min = std::nullopt;  // of a number
  std::optional<double> max = std::nullopt;  // likewise; only beside a min
  const char* choices = "";                  // of a string, separated by '|'; empty: any
  bool above_min = false;                    // the min itself is none of them
};
constexpr Allowed AtLeast(double min) { return {.min = min}; }
constexpr Allowed Between(double min, double max) { return {.min = min, .max = max}; }
constexpr Allowed Above(double min, double max) {
  return {.min = min, .max = max, .above_min = true};
}
constexpr Allowed OneOf(const char* choices) { return {.choices = choices}; }

// One `--name` of a command line. The target holds the default; an optional one is left alone
// unless the option is given.
struct Option {
  using Target = std::variant<std::string*, bool*, std::int32_t*, std::int64_t*, double*,
                              std::optional<std::int32_t>*, std::optional<std::uint64_t>*,
                              std::optional<float>*, std::optional<double>*>;
  const char* name;  // with underscores
  Target target;
  const char* help;  // meaning, unit, and what 0, empty or unset means; null: not on the help page
  Allowed allowed = {};
};

// Reads `--name=value`, `--name value` and, for booleans, `--name`, `--noname` and `--name=false`;
// a dash in a name is the same as an underscore, `-h` is `--help`. `--` ends the options. Returns
// what is no option.
//
// Before that an option takes its value from the environment: with the prefix "THINKWIRE_CHAT_" and
// the name "top_p" from THINKWIRE_CHAT_TOP_P, unless that is empty. The command line wins. Neither
// hidden options nor --help and --version are taken from there. An empty prefix: nothing is.
//
// Fails: INVALID_ARGUMENT, one sentence that names the option or the variable, for an unknown or
// repeated one, a missing value, or one that is not of its type or not allowed; and for a word that
// begins with a dash.
absl::StatusOr<std::vector<std::string>> ParseOptions(std::span<const char* const> arguments,
                                                      std::span<const Option> options,
                                                      std::string_view environment_prefix = "");

// Takes back the value of the option that is called so, where it can be unset (a text becomes
// empty). Fails: INVALID_ARGUMENT, one sentence.
absl::Status UnsetOption(std::string name, std::span<const Option> options);

// The options, their defaults, meanings and what is allowed, for a help page.
std::string DescribeOptions(std::span<const Option> options);

// Which variables of the environment do the same, as one sentence for that page.
std::string DescribeEnvironment(std::string_view prefix);

// Writes a record "options" to the log: a field for each option but hidden ones, those that are
// unset and the pages, --help and --version.
void LogOptions(std::span<const Option> options);

}  // namespace thinkwire
