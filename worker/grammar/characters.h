#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "worker/grammar/expressions.h"

namespace thinkwire::worker::grammar {

// Code points of Unicode, surrogates apart, as ranges first..last: ascending and apart.
using CodePoints = std::vector<std::pair<char32_t, char32_t>>;

inline constexpr char32_t kLastCodePoint = 0x10FFFF;
CodePoints Normalized(CodePoints points);
CodePoints Complement(const CodePoints& points);
inline CodePoints AllCodePoints() { return Complement({}); }

// What stands unescaped in a JSON string whatever the reader, and belongs to `.` of every dialect:
// all from the space on but `"`, `\`, DEL, U+2028 and U+2029. Texts of these are looked up by their
// length instead of being walked (vocabulary.h).
bool IsPlain(char32_t code_point);

// How a text's characters are spelled in the answer.
enum class Spelling {
  kText,  // as they are, in UTF-8
  // As in a JSON string: `"`, `\` and controls escaped, all else as it is. Each character has its
  // spellings apart from every other's, so that what holds of texts holds of their spellings.
  kJson,
};

// Expressions of characters, each made once.
// Threads: one at a time. Borrows `expressions`.
class Characters {
 public:
  explicit Characters(Expressions& expressions) : expressions_(expressions) {}

  // One of `points`, which must be normalized.
  Expr OneOf(const CodePoints& points, Spelling spelling);
  Expr Any(Spelling spelling) { return OneOf(AllCodePoints(), spelling); }
  // Any character of a JSON string, in every spelling that JSON has for it: `\u00e9` too.
  Expr AnyEscaped();

  // `text` as the inside of a JSON string. REQUIRES: valid UTF-8
  Expr JsonText(std::string_view text) { return expressions_.Literal(JsonBytes(text)); }
  static std::string JsonBytes(std::string_view text);
  // The inside of any JSON string whose value is none of `texts`. REQUIRES: valid UTF-8
  Expr OtherThan(std::vector<std::u32string> texts);

 private:
  Expr Utf8(const CodePoints& points);
  Expr Escapes(const CodePoints& points);
  Expr OtherThan(const std::vector<std::u32string>& texts, std::size_t first, std::size_t last,
                 std::size_t length);
  Expr Utf8Range(std::string_view first, std::string_view last);

  Expressions& expressions_;
  std::map<std::pair<Spelling, CodePoints>, Expr> known_;
  Expr any_escaped_ = kNothing;
};

std::u32string ToCodePoints(std::string_view utf8);

}  // namespace thinkwire::worker::grammar
