#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace thinkwire::worker::text {

// What the tokenizer asks of Unicode's character database. unicode_tables.py writes the tables at
// build time from the files of Debian's unicode-data. All are sorted by their first members, ranges
// do not overlap, and their ends belong to them. Hangul syllables are in no table of mappings: they
// follow from their numbers (nfc.cc). Threads: any.

struct CharacterRange {
  char32_t first;
  char32_t last;
};

// Whether one of the ranges holds `c`.
inline bool IsIn(std::span<const CharacterRange> ranges, char32_t c) {
  const auto range = std::ranges::lower_bound(ranges, c, {}, &CharacterRange::last);
  return range != ranges.end() && range->first <= c;
}

// `\w` and `\s` as Unicode's TR 18 has them (annex C), of the version of the files.
extern const std::span<const CharacterRange> kWordCharacters;
extern const std::span<const CharacterRange> kWhiteSpace;

// What follows is of Unicode 9.0's characters alone (nfc.h says why).
extern const std::span<const CharacterRange> kUnicode9;
// Not in normalisation form C wherever they stand: NFC_Quick_Check is No or Maybe.
extern const std::span<const CharacterRange> kUnsureInFormC;

// Canonical combining classes other than 0.
struct ClassRange {
  char32_t first;
  char32_t last;
  std::uint8_t combining_class;
};
extern const std::span<const ClassRange> kCombiningClasses;

// A canonical decomposition with nothing left to decompose; 0 after its end.
struct Decomposition {
  char32_t character;
  std::array<char32_t, 4> parts;
};
extern const std::span<const Decomposition> kDecompositions;

// Two characters that form C has as one.
struct Composition {
  char32_t first;
  char32_t second;
  char32_t composite;
};
extern const std::span<const Composition> kCompositions;

}  // namespace thinkwire::worker::text
