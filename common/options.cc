#include "common/options.h"

#include <algorithm>
#include <set>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"

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

const char* Kind(const Option& option) {
  if (std::holds_alternative<bool*>(option.target)) return "true or false";
  if (std::holds_alternative<std::optional<float>*>(option.target)) return "a number";
  if (std::holds_alternative<std::optional<std::uint64_t>*>(option.target)) {
    return "a whole number of 0 or more";
  }
  return "a whole number";
}

std::string DefaultText(const Option& option) {
  if (const auto* text = std::get_if<std::string*>(&option.target)) return **text;
  if (const auto* flag = std::get_if<bool*>(&option.target)) return **flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int32_t*>(&option.target))
    return absl::StrCat(**number);
  return "";
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

absl::Status ParseOne(std::span<const char* const> arguments, std::span<const Option> options,
                      std::set<std::string>& seen, std::size_t& i) {
  const std::string argument = arguments[i];
  const std::size_t equals = argument.find('=');
  const bool has_value = equals != argument.npos;
  const Named named = Lookup(argument.substr(2, has_value ? equals - 2 : equals), options);
  if (named.option == nullptr || (named.negated && has_value)) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown option ", argument.substr(0, equals), " (see --help)"));
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
  if (std::visit([&](auto* target) { return Set(value, target); }, named.option->target)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--", named.option->name, ": '", value, "' is not ", Kind(*named.option)));
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseOptions(std::span<const char* const> arguments,
                                                      std::span<const Option> options) {
  std::vector<std::string> rest;
  std::set<std::string> seen;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string argument = arguments[i];
    if (argument == "--") {
      rest.insert(rest.end(), arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                  arguments.end());
      break;
    }
    if (!argument.starts_with("--")) {
      rest.push_back(argument);
      continue;
    }
    RETURN_IF_ERROR(ParseOne(arguments, options, seen, i));
  }
  return rest;
}

std::string DescribeOptions(std::span<const Option> options) {
  std::string text;
  for (const Option& option : options) {
    const std::string value = DefaultText(option);
    absl::StrAppend(&text, "  --", option.name, value.empty() ? "" : "=", value, "\n      ",
                    option.help, "\n");
  }
  return text;
}

}  // namespace thinkwire
