#include "worker/text/nfc.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/check.h"
#include "common/utf8.h"

namespace thinkwire::worker::text {
namespace {

constexpr char32_t kCodePointEnd = 0x110000;

// What a table over all code points says of one: its canonical combining class (0 to 240; 0: a
// starter) if it is in form C wherever it stands behind no higher class, else one of these.
constexpr std::uint8_t kLater = 254;   // came after Unicode 9.0: a starter that never changes
constexpr std::uint8_t kUnsure = 255;  // changes, or may compose with what is before it

constexpr bool IsStarter(std::uint8_t kind) { return kind == 0 || kind == kLater; }

const icu::Normalizer2& Nfc() {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(error);
  CHECK(U_SUCCESS(error), "ICU's data for form C is not there");
  return *nfc;
}

std::vector<std::uint8_t> MakeKinds() {
  UErrorCode error = U_ZERO_ERROR;
  const icu::UnicodeSet characters(u"[:age=9.0:]", error);
  CHECK(U_SUCCESS(error), "ICU's data for the age of characters is not there");
  std::vector<std::uint8_t> kinds(kCodePointEnd, kLater);
  for (std::int32_t range = 0; range < characters.getRangeCount(); ++range) {
    for (UChar32 c = characters.getRangeStart(range); c <= characters.getRangeEnd(range); ++c) {
      const bool yes = u_getIntPropertyValue(c, UCHAR_NFC_QUICK_CHECK) == UNORM_YES;
      kinds[c] = yes ? u_getCombiningClass(c) : kUnsure;
    }
  }
  return kinds;
}

// By code point. Constant once made.
const std::uint8_t* Kinds() {
  static const std::vector<std::uint8_t> kinds = MakeKinds();
  return kinds.data();
}

struct Character {
  UChar32 code_point;
  std::uint8_t combining_class;
  bool later;  // kLater
};

// `utf8` decomposed, the marks after each starter in canonical order.
std::vector<Character> Decompose(std::string_view utf8) {
  std::vector<Character> characters;
  icu::UnicodeString mapping;
  while (!utf8.empty()) {
    const Utf8Step step = DecodeUtf8(utf8);
    const auto c = static_cast<UChar32>(step.code_point);
    utf8.remove_prefix(step.length);
    const bool later = Kinds()[c] == kLater;
    if (later || !Nfc().getDecomposition(c, mapping)) mapping.setTo(c);
    for (std::int32_t i = 0; i < mapping.length(); i = mapping.moveIndex32(i, 1)) {
      const UChar32 part = mapping.char32At(i);
      characters.push_back({part, later ? std::uint8_t{0} : u_getCombiningClass(part), later});
    }
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
        const UChar32 composite = Nfc().composePair(base.code_point, c.code_point);
        if (composite >= 0) {
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
  for (const Character& c : characters) AppendUtf8(static_cast<char32_t>(c.code_point), out);
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
