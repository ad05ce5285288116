#include "worker/text/character_classes.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/check.h"
#include "common/utf8.h"
#include "worker/text/regex_splitter.h"

namespace thinkwire::worker::text {
namespace {

constexpr char32_t kCodePointEnd = 0x110000;

constexpr bool IsSurrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

std::string AllCharacters() {
  std::string utf8;
  utf8.reserve(std::size_t{4} * kCodePointEnd);
  for (char32_t c = 0; c < kCodePointEnd; ++c) {
    if (!IsSurrogate(c)) AppendUtf8(c, &utf8);
  }
  return utf8;
}

// Of valid UTF-8 that is not empty.
char32_t LastCodePoint(std::string_view utf8) {
  std::size_t begin = utf8.size() - 1;
  while ((static_cast<std::uint8_t>(utf8[begin]) & 0xC0) == 0x80) --begin;
  return DecodeUtf8(utf8.substr(begin)).code_point;
}

}  // namespace

const CharacterClasses& CharacterClasses::Get() {
  static const CharacterClasses classes;
  return classes;
}

CharacterClasses::CharacterClasses() : classes_(kCodePointEnd, CharacterClass::kOther) {
  const std::string all = AllCharacters();
  const auto fill = [&](const char* one_or_more, CharacterClass members) {
    const absl::StatusOr<RegexSplitter> splitter = RegexSplitter::Create({one_or_more});
    CHECK(splitter.ok(), "the pattern of a class compiles");
    // Runs of members and of others take turns; U+0000 is a member of none.
    bool is_member = false;
    char32_t next = 0;
    splitter->Split(all, [&](std::string_view run) {
      const char32_t end = LastCodePoint(run) + 1;
      if (is_member) std::fill(classes_.begin() + next, classes_.begin() + end, members);
      next = end;
      is_member = !is_member;
    });
    CHECK(next == kCodePointEnd, "the runs are all characters");
  };
  fill(R"(\p{L}+)", CharacterClass::kLetter);
  fill(R"(\p{N}+)", CharacterClass::kNumber);
  fill(R"(\s+)", CharacterClass::kSpace);
  fill(R"([\r\n]+)", CharacterClass::kLineBreak);
}

}  // namespace thinkwire::worker::text
