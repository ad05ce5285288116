#include "worker/text/distill_splitter.h"

#include <array>
#include <cstdint>

namespace thinkwire::worker::text {
namespace {

constexpr std::string_view kQwenPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlamaPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr std::array<CharacterClass, 128> AsciiClasses() {
  std::array<CharacterClass, 128> classes{};  // kOther
  for (int c = 'A'; c <= 'Z'; ++c) classes[c] = classes[c | 0x20] = CharacterClass::kLetter;
  for (int c = '0'; c <= '9'; ++c) classes[c] = CharacterClass::kNumber;
  for (const int c : {'\t', '\v', '\f', ' '}) classes[c] = CharacterClass::kSpace;
  classes['\r'] = classes['\n'] = CharacterClass::kLineBreak;
  return classes;
}

constexpr std::array<CharacterClass, 128> kAsciiClasses = AsciiClasses();

struct CodePoint {
  char32_t value;
  std::size_t length;
};

// Of at least 2 bytes of valid UTF-8, whose first is not ASCII. DecodeUtf8, which also checks,
// makes all of Encode 5 to 10 % slower.
CodePoint DecodeLong(std::string_view utf8) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(utf8[i]); };
  const auto low = [&](std::size_t i) { return static_cast<char32_t>(byte(i) & 0x3F); };
  if (byte(0) < 0xE0) return {static_cast<char32_t>(byte(0) & 0x1F) << 6 | low(1), 2};
  if (byte(0) < 0xF0) {
    return {static_cast<char32_t>(byte(0) & 0x0F) << 12 | low(1) << 6 | low(2), 3};
  }
  return {static_cast<char32_t>(byte(0) & 0x07) << 18 | low(1) << 12 | low(2) << 6 | low(3), 4};
}

// The length of what begins with "'" and ends a contraction; 0 if it does not.
std::size_t ContractionLength(std::string_view utf8) {
  const auto lower = [&](std::size_t i) { return i < utf8.size() ? utf8[i] | 0x20 : 0; };
  switch (lower(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return lower(2) == 'e' ? 3 : 0;
    case 'l':
      return lower(2) == 'l' ? 3 : 0;
    default:
      return utf8.substr(1).starts_with("\u017F") ? 3 : 0;  // a long s is an s in another case
  }
}

}  // namespace

std::optional<DistillSplitter> DistillSplitter::For(std::string_view pattern) {
  if (pattern == kQwenPattern) return DistillSplitter(1);
  if (pattern == kLlamaPattern) return DistillSplitter(3);
  return std::nullopt;
}

void DistillSplitter::Split(std::string_view utf8,
                            absl::FunctionRef<void(std::string_view)> sink) const {
  for (std::size_t begin = 0; begin < utf8.size();) {
    const std::size_t end = PieceEnd(utf8, begin);
    sink(utf8.substr(begin, end - begin));
    begin = end;
  }
}

inline DistillSplitter::Character DistillSplitter::At(std::string_view utf8,
                                                      std::size_t begin) const {
  const auto byte = static_cast<std::uint8_t>(utf8[begin]);
  if (byte < 0x80) return {kAsciiClasses[byte], begin + 1};
  const CodePoint c = DecodeLong(utf8.substr(begin));
  return {(*classes_)[c.value], begin + c.length};
}

inline std::size_t DistillSplitter::RunEnd(CharacterClass kind, std::string_view utf8,
                                           std::size_t begin) const {
  while (begin < utf8.size()) {
    const Character c = At(utf8, begin);
    if (c.kind != kind) break;
    begin = c.end;
  }
  return begin;
}

// REQUIRES: begin < utf8.size().
std::size_t DistillSplitter::PieceEnd(std::string_view utf8, std::size_t begin) const {
  if (utf8[begin] == '\'') {
    const std::size_t length = ContractionLength(utf8.substr(begin));
    if (length > 0) return begin + length;
  }
  const Character first = At(utf8, begin);
  if (first.kind == CharacterClass::kLetter) {
    return RunEnd(CharacterClass::kLetter, utf8, first.end);
  }
  if (first.kind == CharacterClass::kNumber) return NumberEnd(utf8, begin);
  if (first.kind != CharacterClass::kLineBreak && first.end < utf8.size()) {
    const Character second = At(utf8, first.end);
    if (second.kind == CharacterClass::kLetter) {
      return RunEnd(CharacterClass::kLetter, utf8, second.end);
    }
    if (utf8[begin] == ' ' && second.kind == CharacterClass::kOther) {
      return OtherEnd(utf8, second.end);
    }
  }
  if (first.kind == CharacterClass::kOther) return OtherEnd(utf8, first.end);
  return WhiteSpaceEnd(utf8, begin);
}

std::size_t DistillSplitter::NumberEnd(std::string_view utf8, std::size_t begin) const {
  for (int digits = 0; digits < max_digits_ && begin < utf8.size(); ++digits) {
    const Character c = At(utf8, begin);
    if (c.kind != CharacterClass::kNumber) break;
    begin = c.end;
  }
  return begin;
}

// The rest of alternative 4, after its first character that is no space.
std::size_t DistillSplitter::OtherEnd(std::string_view utf8, std::size_t begin) const {
  return RunEnd(CharacterClass::kLineBreak, utf8, RunEnd(CharacterClass::kOther, utf8, begin));
}

// Alternatives 5 to 7.
std::size_t DistillSplitter::WhiteSpaceEnd(std::string_view utf8, std::size_t begin) const {
  std::size_t end = begin;
  std::size_t last = begin;         // where the run's last character begins
  std::size_t after_break = begin;  // the end of the run's last line break
  while (end < utf8.size()) {
    const Character c = At(utf8, end);
    if (c.kind != CharacterClass::kSpace && c.kind != CharacterClass::kLineBreak) break;
    last = end;
    end = c.end;
    if (c.kind == CharacterClass::kLineBreak) after_break = end;
  }
  if (after_break > begin) return after_break;
  return end == utf8.size() || last == begin ? end : last;
}

}  // namespace thinkwire::worker::text
