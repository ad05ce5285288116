#include "worker/grammar/character_class.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/strings.h"
#include "common/utf8.h"

namespace thinkwire::worker::grammar {
namespace {

CodePoints Digits() { return {{'0', '9'}}; }
CodePoints WordCharacters() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
CodePoints Spaces() {  // ECMA-262, WhiteSpace and LineTerminator
  return {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}
CodePoints LineEnds() { return {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}; }

absl::StatusOr<char32_t> ReadHex(PatternReader* reader, int num_digits) {
  char32_t value = 0;
  for (int i = 0; i < num_digits; ++i) {
    const char c = reader->Peek();
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (!digit && !letter) return reader->Error("an escape of too few hexadecimal digits");
    value = value * 16 + (digit ? c - '0' : (c | 0x20) - 'a' + 10);
    reader->Skip();
  }
  return value;
}

// \uXXXX, or two that make a surrogate pair.
absl::StatusOr<CodePoints> ReadUnicode(PatternReader* reader) {
  ASSIGN_OR_RETURN(char32_t point, ReadHex(reader, 4));
  if (point >= 0xD800 && point <= 0xDBFF && reader->Take("\\u")) {
    ASSIGN_OR_RETURN(const char32_t low, ReadHex(reader, 4));
    if (low < 0xDC00 || low > 0xDFFF) return reader->Error("half a surrogate pair");
    point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
  }
  if (point >= 0xD800 && point <= 0xDFFF) return reader->Error("half a surrogate pair");
  return CodePoints{{point, point}};
}

CodePoints Single(char32_t point) { return {{point, point}}; }

absl::StatusOr<CodePoints> ReadLetterEscape(char letter, PatternReader* reader) {
  switch (letter) {
    case 'd':
      return Digits();
    case 'D':
      return Complement(Digits());
    case 'w':
      return WordCharacters();
    case 'W':
      return Complement(WordCharacters());
    case 's':
      return Spaces();
    case 'S':
      return Complement(Spaces());
    case 'n':
      return Single('\n');
    case 'r':
      return Single('\r');
    case 't':
      return Single('\t');
    case 'f':
      return Single('\f');
    case 'v':
      return Single('\v');
    case '0':
      return Single(0);
    case 'x': {
      ASSIGN_OR_RETURN(const char32_t point, ReadHex(reader, 2));
      return Single(point);
    }
    case 'u':
      return ReadUnicode(reader);
    default:
      return reader->Error(
          absl::StrCat("the escape \\", std::string(1, letter), " is not supported"));
  }
}

bool IsLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// After the backslash.
absl::StatusOr<CodePoints> ReadEscape(PatternReader* reader) {
  if (reader->at_end()) return reader->Error("a \\ at the end");
  const char c = reader->Peek();
  if (c >= '1' && c <= '9') return reader->Error("backreferences are not supported");
  if (c == 'k') return reader->Error("backreferences are not supported");
  if (c == 'b' || c == 'B') return reader->Error("word boundaries are not supported");
  if (c == 'p' || c == 'P') return reader->Error("\\p, properties of Unicode, is not supported");
  const char32_t point = reader->TakeCodePoint();
  if (IsLetter(c) || c == '0') return ReadLetterEscape(c, reader);
  return Single(point);
}

absl::StatusOr<CodePoints> ReadClassMember(PatternReader* reader) {
  if (!reader->Take("\\")) return Single(reader->TakeCodePoint());
  if (reader->Take("b")) return Single('\b');
  return ReadEscape(reader);
}

// After `[`.
absl::StatusOr<CodePoints> ReadClass(PatternReader* reader) {
  const bool negated = reader->Take("^");
  CodePoints points;
  while (!reader->Take("]")) {
    if (reader->at_end()) return reader->Error("a [ without its ]");
    ASSIGN_OR_RETURN(CodePoints member, ReadClassMember(reader));
    const bool single = member.size() == 1 && member[0].first == member[0].second;
    PatternReader ahead = *reader;
    if (ahead.Take("-") && !ahead.at_end() && ahead.Peek() != ']') {
      *reader = ahead;
      ASSIGN_OR_RETURN(const CodePoints last, ReadClassMember(reader));
      if (!single || last.size() != 1 || last[0].first != last[0].second) {
        return reader->Error("a range between classes");
      }
      if (last[0].first < member[0].first) return reader->Error("a range that runs backwards");
      member[0].second = last[0].first;
    }
    points.insert(points.end(), member.begin(), member.end());
  }
  points = Normalized(std::move(points));
  // Surrogates, which a range may run over, are no characters.
  const CodePoints others = Complement(points);
  return negated ? others : Complement(others);
}

}  // namespace

bool PatternReader::Take(std::string_view text) {
  if (pattern_.substr(place_, text.size()) != text) return false;
  place_ += text.size();
  return true;
}

char32_t PatternReader::TakeCodePoint() {
  const Utf8Step step = DecodeUtf8(pattern_.substr(place_));
  place_ += step.length;
  return step.code_point;
}

absl::Status PatternReader::Error(std::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat("a regular expression is refused at byte ", place_, ": ", View(what)));
}

absl::StatusOr<CodePoints> ReadCharacters(PatternReader* reader) {
  if (reader->Take(".")) return Complement(LineEnds());
  if (reader->Take("[")) return ReadClass(reader);
  if (reader->Take("\\")) return ReadEscape(reader);
  return Single(reader->TakeCodePoint());
}

}  // namespace thinkwire::worker::grammar
