#pragma once

#include <cstdint>
#include <vector>

namespace thinkwire::worker::text {

// What the distills' split patterns tell apart.
enum class CharacterClass : std::uint8_t {
  kOther,
  kLetter,     // \p{L}
  kNumber,     // \p{N}
  kSpace,      // \s but for line breaks
  kLineBreak,  // \r and \n
};

// The class of every code point, as RegexSplitter matches it: the table is filled by it, so that
// both know the same Unicode version. Threads: immutable.
class CharacterClasses {
 public:
  // Made at the first call (tens of milliseconds); lives as long as the process.
  static const CharacterClasses& Get();

  // REQUIRES: a code point, not above U+10FFFF.
  CharacterClass operator[](char32_t code_point) const { return classes_[code_point]; }

 private:
  CharacterClasses();

  std::vector<CharacterClass> classes_;  // by code point
};

}  // namespace thinkwire::worker::text
