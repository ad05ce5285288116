#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct pcre2_real_code_8;

namespace thinkwire::worker::model {

// A way in which a configuration names some of a model's modules.
// Threads: any; a value, cheap to copy.
class NamePattern {
 public:
  static NamePattern Any() { return {Kind::kAny, ""}; }
  static NamePattern Exactly(std::string name) { return {Kind::kExactly, std::move(name)}; }
  static NamePattern Containing(std::string part) { return {Kind::kContaining, std::move(part)}; }
  // As Python's re.match has it: from a name's beginning, but not to its end.
  // Fails: INVALID_ARGUMENT what is no regular expression.
  static absl::StatusOr<NamePattern> Regex(const std::string& expression);

  // Fails: INVALID_ARGUMENT an expression that takes too many steps.
  absl::StatusOr<bool> Matches(absl::string_view name) const;

 private:
  enum class Kind : std::uint8_t { kAny, kExactly, kContaining, kRegex };

  NamePattern(Kind kind, std::string text) : kind_(kind), text_(std::move(text)) {}
  absl::StatusOr<bool> MatchesRegex(absl::string_view name) const;

  Kind kind_;
  std::string text_;
  std::shared_ptr<const pcre2_real_code_8> code_;  // of kRegex
};

}  // namespace thinkwire::worker::model
