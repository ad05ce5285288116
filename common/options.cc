#include "common/options.h"

#include <algorithm>
#include <cstdlib>
#include <set>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/log.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

const Option* Find(std::span<const Option> options, const std::string& name) {
  const auto found =
      std::ranges::find_if(options, [&](const Option& option) { return option.name == name; });
  return found == options.end() ? nullptr : &*found;
}

bool IsBool(const Option* option) {
  return option != nullptr && std::holds_alternative<bool*>(option->target);
}

bool Set(const std::string& value, std::string* target) {
  *target = value;
  return true;
}
bool Set(const std::string& value, bool* target) { return absl::SimpleAtob(value, target); }
bool Set(const std::string& value, float* target) { return absl::SimpleAtof(value, target); }
bool Set(const std::string& value, double* target) { return absl::SimpleAtod(value, target); }
template <class Integer>
requires std::is_integral_v<Integer>
bool Set(const std::string& value, Integer* target) { return absl::SimpleAtoi(value, target); }
template <class T>
bool Set(const std::string& value, std::optional<T>* target) {
  T parsed{};
  if (!Set(value, &parsed)) return false;
  *target = parsed;
  return true;
}

template <class Integer>
requires std::is_integral_v<Integer> std::string KindOf(const Integer*) { return "a whole number"; }
std::string KindOf(const bool*) { return "true or false"; }
std::string KindOf(const double*) { return "a number"; }
std::string KindOf(const float*) { return "a number"; }
std::string KindOf(const std::string*) { return "a text"; }
template <class T>
std::string KindOf(const std::optional<T>*) {
  return KindOf(static_cast<const T*>(nullptr));
}

std::string NumberText(double number) { return absl::StrFormat("%.16g", number); }

// As much of a whole number's range as its type says by itself.
std::optional<double> LowestOf(const Option& option) {
  if (option.allowed.min) return option.allowed.min;
  if (std::holds_alternative<std::optional<std::uint64_t>*>(option.target)) return 0;
  return std::nullopt;
}

// "a whole number from 1 to 64", "supported: auto, cpu": what a value should have been.
std::string Wanted(const Option& option) {
  if (*option.allowed.choices != '\0') {
    return absl::StrCat("supported: ", absl::StrReplaceAll(option.allowed.choices, {{"|", ", "}}));
  }
  const std::string kind =
      std::visit([](const auto* target) { return KindOf(target); }, option.target);
  const std::optional<double> min = LowestOf(option);
  if (!min) return kind;
  if (option.allowed.above_min) {
    return absl::StrCat(kind, " above ", NumberText(*min), ", up to ",
                        NumberText(*option.allowed.max));
  }
  if (!option.allowed.max) return absl::StrCat(kind, " of ", NumberText(*min), " or more");
  return absl::StrCat(kind, " from ", NumberText(*min), " to ", NumberText(*option.allowed.max));
}

bool IsAllowed(const std::string& value, const Allowed& allowed) {
  const std::vector<std::string> choices = absl::StrSplit(allowed.choices, '|', absl::SkipEmpty());
  return choices.empty() || std::ranges::find(choices, value) != choices.end();
}
bool IsAllowed(bool /*value*/, const Allowed& /*allowed*/) { return true; }
template <class Number>
bool IsAllowed(Number value, const Allowed& allowed) {
  const auto number = static_cast<double>(value);
  if (allowed.above_min && number == *allowed.min) return false;
  return (!allowed.min || number >= *allowed.min) && (!allowed.max || number <= *allowed.max);
}
template <class T>
bool IsAllowed(const std::optional<T>& value, const Allowed& allowed) {
  return value && IsAllowed(*value, allowed);
}

// Writes `value` into the option's target. False, and the target is unchanged, if it may not.
bool SetTarget(const std::string& value, const Option& option) {
  return std::visit(
      [&](auto* target) {
        auto parsed = *target;
        if (!Set(value, &parsed)) return false;
        if (parsed != *target && !IsAllowed(parsed, option.allowed)) return false;
        *target = std::move(parsed);
        return true;
      },
      option.target);
}

std::string ValueText(const std::string& value) { return value; }
std::string ValueText(bool value) { return value ? "true" : "false"; }
template <class Number>
std::string ValueText(Number value) {
  return absl::StrCat(value);
}
template <class T>
std::string ValueText(const std::optional<T>& value) {
  return value ? ValueText(*value) : "";
}
std::string ValueText(const Option& option) {
  return std::visit([](const auto* target) { return ValueText(*target); }, option.target);
}

template <class T>
void AddField(const char* name, const T& value, std::vector<LogField>& fields) {
  fields.emplace_back(name, value);
}
template <class T>
void AddField(const char* name, const std::optional<T>& value, std::vector<LogField>& fields) {
  if (value) AddField(name, *value, fields);
}

std::string AllowedText(const Allowed& allowed) {
  if (*allowed.choices != '\0') return absl::StrCat(" (", allowed.choices, ")");
  if (!allowed.min) return "";
  return absl::StrCat(allowed.above_min ? " (" : " [", NumberText(*allowed.min), "..",
                      allowed.max ? NumberText(*allowed.max) : "", "]");
}

// What `argument`, which starts with "--", names.
struct Named {
  const Option* option = nullptr;
  bool negated = false;
};
Named Lookup(std::string name, std::span<const Option> options) {
  std::ranges::replace(name, '-', '_');
  if (const Option* option = Find(options, name)) return {option, false};
  if (name.starts_with("no")) {
    const std::string positive = name.substr(name.starts_with("no_") ? 3 : 2);
    const Option* option = Find(options, positive);
    if (IsBool(option)) return {option, true};
  }
  return {};
}

absl::Status Wrong(const std::string& what, const std::string& value, const Option& option) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": '", ShownText(value), "' is not ", Wanted(option)));
}

absl::Status ParseOne(std::span<const char* const> arguments, std::span<const Option> options,
                      std::set<std::string>& seen, std::size_t& i) {
  const std::string argument = arguments[i];
  const std::size_t equals = argument.find('=');
  const bool has_value = equals != argument.npos;
  const Named named = Lookup(argument.substr(2, has_value ? equals - 2 : equals), options);
  if (named.option == nullptr || (named.negated && has_value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown option ", ShownText(argument.substr(0, equals)), " (see --help)"));
  }
  if (!seen.insert(named.option->name).second) {
    return absl::InvalidArgumentError(absl::StrCat("--", named.option->name, " is given twice"));
  }
  std::string value = named.negated ? "false" : "true";
  if (has_value) {
    value = argument.substr(equals + 1);
  } else if (!IsBool(named.option)) {
    if (++i == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrCat("--", named.option->name, " needs a value"));
    }
    value = arguments[i];
  }
  if (SetTarget(value, *named.option)) return absl::OkStatus();
  return Wrong(absl::StrCat("--", named.option->name), value, *named.option);
}

// A single dash and a letter: a short option elsewhere, of which we have one.
bool IsDashed(const std::string& argument) {
  return argument.size() > 1 && argument[0] == '-' &&
         absl::ascii_isgraph(static_cast<unsigned char>(argument[1]));
}

absl::Status NoShortOption(const std::string& argument) {
  return absl::InvalidArgumentError(
      absl::StrCat("unknown option ", ShownText(argument),
                   " (see --help); a text that begins with a dash goes behind --"));
}

bool IsPage(const Option& option) {
  const std::string_view name = option.name;
  return name == "help" || name == "version";
}

absl::Status ReadEnvironment(std::string_view prefix, std::span<const Option> options) {
  for (const Option& option : options) {
    if (option.help == nullptr || IsPage(option)) continue;
    const std::string variable = absl::StrCat(View(prefix), absl::AsciiStrToUpper(option.name));
    const char* value = std::getenv(variable.c_str());
    if (value == nullptr || *value == '\0') continue;
    if (!SetTarget(value, option)) return Wrong(variable, value, option);
  }
  return absl::OkStatus();
}

bool Unset(std::string* target) {
  target->clear();
  return true;
}
template <class T>
bool Unset(std::optional<T>* target) {
  target->reset();
  return true;
}
template <class T>
bool Unset(T* /*target*/) {
  return false;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseOptions(std::span<const char* const> arguments,
                                                      std::span<const Option> options,
                                                      std::string_view environment_prefix) {
  if (!environment_prefix.empty()) RETURN_IF_ERROR(ReadEnvironment(environment_prefix, options));
  std::vector<const char*> spelled(arguments.begin(), arguments.end());
  std::vector<std::string> rest;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < spelled.size(); ++i) {
    if (std::string_view(spelled[i]) == "-h") spelled[i] = "--help";
    const std::string argument = spelled[i];
    if (argument == "--") {
      rest.insert(rest.end(), spelled.begin() + static_cast<std::ptrdiff_t>(i) + 1, spelled.end());
      break;
    }
    if (argument.starts_with("--")) {
      RETURN_IF_ERROR(ParseOne(spelled, options, seen, i));
    } else if (IsDashed(argument)) {
      return NoShortOption(argument);
    } else {
      rest.push_back(argument);
    }
  }
  return rest;
}

absl::Status UnsetOption(std::string name, std::span<const Option> options) {
  std::ranges::replace(name, '-', '_');
  const Option* option = Find(options, name);
  if (option == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("there is no ", ShownText(name), " to set"));
  }
  if (std::visit([](auto* target) { return Unset(target); }, option->target)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(name, " cannot be unset"));
}

std::string DescribeOptions(std::span<const Option> options) {
  std::string text;
  for (const Option& option : options) {
    if (option.help == nullptr) continue;
    const std::string value = ValueText(option);
    absl::StrAppend(&text, "  --", option.name, value.empty() ? "" : "=", value, "\n      ",
                    option.help, AllowedText(option.allowed), "\n");
  }
  return text;
}

std::string DescribeEnvironment(std::string_view prefix) {
  return absl::StrCat("The environment sets options too: ", View(prefix),
                      "X is --x. The command line wins.\n");
}

void LogOptions(std::span<const Option> options) {
  std::vector<LogField> fields;
  for (const Option& option : options) {
    if (option.help == nullptr || IsPage(option)) continue;
    std::visit([&](const auto* target) { AddField(option.name, *target, fields); }, option.target);
  }
  LogRecord(LogLevel::kInfo, "options", fields);
}

}  // namespace thinkwire
