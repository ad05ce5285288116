#pragma once

#include <cstddef>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/grammar/characters.h"

namespace thinkwire::worker::grammar {

// A pattern of characters that is read from left to right. REQUIRES: valid UTF-8
class PatternReader {
 public:
  explicit PatternReader(std::string_view pattern) : pattern_(pattern) {}

  bool at_end() const { return place_ == pattern_.size(); }
  char Peek() const { return at_end() ? '\0' : pattern_[place_]; }
  void Skip() { ++place_; }
  bool Take(std::string_view text);
  char32_t TakeCodePoint();  // REQUIRES: not at the end
  // INVALID_ARGUMENT, with the place that the reader has come to.
  absl::Status Error(std::string_view what) const;

 private:
  std::string_view pattern_;
  std::size_t place_ = 0;
};

// Reads what stands for one character: itself, an escape, `.` or a class in brackets.
// Fails: as ParseRegex, which says what it knows. REQUIRES: not at the end
absl::StatusOr<CodePoints> ReadCharacters(PatternReader* reader);

}  // namespace thinkwire::worker::grammar
