#include "worker/text/nfc.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "common/utf8.h"
#include "worker/text/unicode_tables.h"

namespace thinkwire::worker::text {
namespace {

constexpr char32_t kCodePointEnd = 0x110000;

// What a table over all code points says of one: its canonical combining class (0 to 240; 0: a
// starter) if it is in form C wherever it stands behind no higher class, else one of these.
constexpr std::uint8_t kLater = 254;   // came after Unicode 9.0: a starter that never changes
constexpr std::uint8_t kUnsure = 255;  // changes, or may compose with what is before it

constexpr bool IsStarter(std::uint8_t kind) { return kind == 0 || kind == kLater; }

std::vector<std::uint8_t> MakeKinds() {
  std::vector<std::uint8_t> kinds(kCodePointEnd, kLater);
  const auto fill = [&kinds](char32_t first, char32_t last, std::uint8_t kind) {
    std::fill(kinds.begin() + first, kinds.begin() + last + 1, kind);
  };
  for (const CharacterRange& range : kUnicode9) fill(range.first, range.last, 0);
  for (const ClassRange& range : kCombiningClasses) {
    fill(range.first, range.last, range.combining_class);
  }
  for (const CharacterRange& range : kUnsureInFormC) fill(range.first, range.last, kUnsure);
  return kinds;
}

// By code point. Constant once made.
const std::uint8_t* Kinds() {
  static const std::vector<std::uint8_t> kinds = MakeKinds();
  return kinds.data();
}

struct Character {
  char32_t code_point;
  std::uint8_t combining_class;
  bool later;  // kLater
};

// Of a character of Unicode 9.0, whether or not it is sure to be in form C.
std::uint8_t CombiningClass(char32_t c) {
  if (Kinds()[c] != kUnsure) return Kinds()[c];
  const auto range = std::ranges::lower_bound(kCombiningClasses, c, {}, &ClassRange::last);
  const bool found = range != kCombiningClasses.end() && range->first <= c;
  return found ? range->combining_class : std::uint8_t{0};
}

// Hangul syllables are composed by number (Unicode chapter 3.12).
constexpr char32_t kSyllables = 0xAC00;
constexpr char32_t kLeads = 0x1100;
constexpr char32_t kVowels = 0x1161;
constexpr char32_t kTails = 0x11A7;  // one before the first: a syllable may have none
constexpr char32_t kNumLeads = 19;
constexpr char32_t kNumVowels = 21;
constexpr char32_t kNumTails = 28;
constexpr char32_t kNumSyllables = kNumLeads * kNumVowels * kNumTails;

// Wraps around below `first`, and is then not below `count` either.
constexpr bool IsAmong(char32_t c, char32_t first, char32_t count) { return c - first < count; }

std::array<char32_t, 4> DecomposeSyllable(char32_t syllable) {
  const char32_t index = syllable - kSyllables;
  const char32_t tail = index % kNumTails;
  return {kLeads + index / (kNumVowels * kNumTails), kVowels + index / kNumTails % kNumVowels,
          tail > 0 ? kTails + tail : 0, 0};
}

// Of a character of Unicode 9.0: itself where it has none. 0 after the end.
std::array<char32_t, 4> DecompositionOf(char32_t c) {
  if (IsAmong(c, kSyllables, kNumSyllables)) return DecomposeSyllable(c);
  const auto found = std::ranges::lower_bound(kDecompositions, c, {}, &Decomposition::character);
  if (found == kDecompositions.end() || found->character != c) return {c, 0, 0, 0};
  return found->parts;
}

// 0: the two are none together.
char32_t ComposeHangul(char32_t first, char32_t second) {
  if (IsAmong(first, kLeads, kNumLeads) && IsAmong(second, kVowels, kNumVowels)) {
    return kSyllables + ((first - kLeads) * kNumVowels + (second - kVowels)) * kNumTails;
  }
  const bool open =
      IsAmong(first, kSyllables, kNumSyllables) && (first - kSyllables) % kNumTails == 0;
  if (open && IsAmong(second, kTails + 1, kNumTails - 1)) return first + (second - kTails);
  return 0;
}

char32_t ComposePair(char32_t first, char32_t second) {
  if (const char32_t syllable = ComposeHangul(first, second); syllable != 0) return syllable;
  const auto found =
      std::ranges::lower_bound(kCompositions, std::pair(first, second), {},
                               [](const Composition& c) { return std::pair(c.first, c.second); });
  const bool composes =
      found != kCompositions.end() && found->first == first && found->second == second;
  return composes ? found->composite : 0;
}

void AppendDecomposed(char32_t c, std::vector<Character>* out) {
  if (Kinds()[c] == kLater) {
    out->push_back({c, 0, true});
    return;
  }
  const std::array<char32_t, 4> parts = DecompositionOf(c);
  out->push_back({parts[0], CombiningClass(parts[0]), false});
  for (std::size_t i = 1; i < parts.size() && parts[i] != 0; ++i) {
    out->push_back({parts[i], CombiningClass(parts[i]), false});
  }
}

// `utf8` decomposed, the marks after each starter in canonical order.
std::vector<Character> Decompose(std::string_view utf8) {
  std::vector<Character> characters;
  while (!utf8.empty()) {
    const Utf8Step step = DecodeUtf8(utf8);
    AppendDecomposed(step.code_point, &characters);
    utf8.remove_prefix(step.length);
  }
  const auto is_starter = [](const Character& c) { return c.combining_class == 0; };
  for (auto run = characters.begin(); run != characters.end();) {
    const auto run_end = std::find_if(run, characters.end(), is_starter);
    std::stable_sort(run, run_end, [](const Character& a, const Character& b) {
      return a.combining_class < b.combining_class;
    });
    run = std::find_if_not(run_end, characters.end(), is_starter);
  }
  return characters;
}

// The canonical composition algorithm (Unicode chapter 3.11, D117) in place.
void Compose(std::vector<Character>* characters) {
  std::size_t size = 0;
  std::size_t starter = SIZE_MAX;
  for (const Character& c : *characters) {
    if (starter != SIZE_MAX) {
      Character& base = (*characters)[starter];
      const bool is_blocked =
          size > starter + 1 && (*characters)[size - 1].combining_class >= c.combining_class;
      if (!is_blocked && !base.later && !c.later) {
        const char32_t composite = ComposePair(base.code_point, c.code_point);
        if (composite != 0) {
          base.code_point = composite;
          continue;
        }
      }
    }
    if (c.combining_class == 0) starter = size;
    (*characters)[size++] = c;
  }
  characters->resize(size);
}

// ICU's own normalize() puts each mark to its place by moving those before it, which takes a time
// quadratic in their number, and a prompt may consist of nothing else.
void AppendNormalized(std::string_view utf8, std::string* out) {
  std::vector<Character> characters = Decompose(utf8);
  Compose(&characters);
  for (const Character& c : characters) AppendUtf8(c.code_point, out);
}

}  // namespace

std::string_view NormalizeNfc(std::string_view utf8, std::string* buffer) {
  const std::uint8_t* kinds = Kinds();
  std::size_t done = 0;  // what is before it is in *buffer
  std::size_t starter =
      0;  // where the last starter began: no character before it changes one after
  std::uint8_t highest_class = 0;
  for (std::size_t at = 0; at < utf8.size();) {
    if (const std::size_t ascii = NumAsciiBytesAtBegin(utf8.substr(at)); ascii > 0) {
      at += ascii;
      starter = at - 1;
      highest_class = 0;
      continue;
    }
    const Utf8Step step = DecodeUtf8(utf8.substr(at));
    const std::uint8_t kind = kinds[step.code_point];
    if (IsStarter(kind)) {
      starter = at;
      highest_class = 0;
    } else if (kind != kUnsure && kind >= highest_class) {
      highest_class = kind;
    } else {
      if (done == 0) buffer->clear();
      std::size_t end = at + step.length;
      while (end < utf8.size()) {
        const Utf8Step next = DecodeUtf8(utf8.substr(end));
        if (IsStarter(kinds[next.code_point])) break;
        end += next.length;
      }
      buffer->append(utf8.substr(done, starter - done));
      AppendNormalized(utf8.substr(starter, end - starter), buffer);
      at = done = starter = end;
      highest_class = 0;
      continue;
    }
    at += step.length;
  }
  if (done == 0) return utf8;
  buffer->append(utf8.substr(done));
  return *buffer;
}

}  // namespace thinkwire::worker::text
