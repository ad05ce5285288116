#include "worker/grammar/characters.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/utf8.h"

namespace thinkwire::worker::grammar {
namespace {

bool Contains(const CodePoints& points, char32_t point) {
  return std::any_of(points.begin(), points.end(), [point](const auto& range) {
    return range.first <= point && point <= range.second;
  });
}

CodePoints Intersection(const CodePoints& a, const CodePoints& b) {
  CodePoints both = Complement(a);
  const CodePoints others = Complement(b);
  both.insert(both.end(), others.begin(), others.end());
  return Complement(Normalized(std::move(both)));
}

const CodePoints& Unescaped() {
  static const CodePoints unescaped = {
      {0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0xD7FF}, {0xE000, kLastCodePoint}};
  return unescaped;
}

bool CoversPlain(const CodePoints& points) {
  const CodePoints missing = Complement(points);
  for (const auto& [first, last] : missing) {
    for (char32_t point = first; point <= last; ++point) {
      if (IsPlain(point)) return false;
    }
  }
  return true;
}

// The escape of one character in JSON that has two characters, or 0.
char ShortEscape(char32_t point) {
  constexpr std::array<std::pair<char32_t, char>, 7> kEscapes = {
      {{'"', '"'}, {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'}, {'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}}};
  for (const auto& [escaped, name] : kEscapes) {
    if (escaped == point) return name;
  }
  return 0;
}

std::string Escape(char32_t point) {
  if (const char name = ShortEscape(point)) return std::string("\\") + name;
  constexpr char kDigits[] = "0123456789abcdef";
  return std::string("\\u00") + kDigits[point >> 4] + kDigits[point & 15];
}

ByteSet HexDigits() {
  ByteSet digits('0', '9');
  digits.Add('a', 'f');
  digits.Add('A', 'F');
  return digits;
}

}  // namespace

CodePoints Normalized(CodePoints points) {
  std::sort(points.begin(), points.end());
  CodePoints merged;
  for (const auto& range : points) {
    if (!merged.empty() && range.first <= merged.back().second + 1) {
      merged.back().second = std::max(merged.back().second, range.second);
    } else {
      merged.push_back(range);
    }
  }
  return merged;
}

CodePoints Complement(const CodePoints& points) {
  CodePoints taken = points;
  taken.emplace_back(0xD800, 0xDFFF);
  CodePoints rest;
  char32_t next = 0;
  for (const auto& [first, last] : Normalized(std::move(taken))) {
    if (next < first) rest.emplace_back(next, first - 1);
    next = last + 1;
  }
  if (next <= kLastCodePoint) rest.emplace_back(next, kLastCodePoint);
  return rest;
}

bool IsPlain(char32_t code_point) {
  return code_point >= 0x20 && code_point != '"' && code_point != '\\' && code_point != 0x7F &&
         code_point != 0x2028 && code_point != 0x2029 &&
         (code_point < 0xD800 || code_point > 0xDFFF);
}

std::u32string ToCodePoints(std::string_view utf8) {
  std::u32string points;
  while (!utf8.empty()) {
    const Utf8Step step = DecodeUtf8(utf8);
    points.push_back(step.code_point);
    utf8.remove_prefix(step.length);
  }
  return points;
}

Expr Characters::OneOf(const CodePoints& points, Spelling spelling) {
  const auto [entry, is_new] = known_.try_emplace({spelling, points}, kNothing);
  if (!is_new) return entry->second;
  Expr one = kNothing;
  if (spelling == Spelling::kText) {
    one = Utf8(points);
  } else {
    one = expressions_.AnyOf({Utf8(Intersection(points, Unescaped())), Escapes(points)});
  }
  if (CoversPlain(points)) expressions_.MarkCoversPlain(one);
  return entry->second = one;
}

// Ranges are cut where the number of bytes changes, and then by Utf8Range until all bytes but the
// first that differ run over all values: the known way of RE2 and of Rust's utf8-ranges.
Expr Characters::Utf8(const CodePoints& points) {
  std::vector<Expr> parts;
  constexpr std::array<char32_t, 4> kLastOfLength = {0x7F, 0x7FF, 0xFFFF, kLastCodePoint};
  for (auto [first, last] : Intersection(points, AllCodePoints())) {
    for (const char32_t border : kLastOfLength) {
      if (first > last || first > border) continue;
      std::string from, to;
      AppendUtf8(first, &from);
      AppendUtf8(std::min(last, border), &to);
      parts.push_back(Utf8Range(from, to));
      first = border + 1;
    }
  }
  return expressions_.AnyOf(std::move(parts));
}

Expr Characters::Utf8Range(std::string_view first, std::string_view last) {
  if (first.empty()) return kEmptyText;
  const auto low = static_cast<std::uint8_t>(first[0]);
  const auto high = static_cast<std::uint8_t>(last[0]);
  const std::string_view first_rest = first.substr(1), last_rest = last.substr(1);
  const auto from = [this](std::uint8_t begin, std::uint8_t end, Expr rest) {
    return expressions_.Concat(expressions_.Bytes(ByteSet(begin, end)), rest);
  };
  if (low == high) return from(low, low, Utf8Range(first_rest, last_rest));
  const std::string least(first_rest.size(), '\x80'), greatest(first_rest.size(), '\xBF');
  std::vector<Expr> parts;
  int begin = low, end = high;
  if (first_rest != least) {
    parts.push_back(from(low, low, Utf8Range(first_rest, greatest)));
    ++begin;
  }
  if (last_rest != greatest) {
    parts.push_back(from(high, high, Utf8Range(least, last_rest)));
    --end;
  }
  if (begin <= end) parts.push_back(from(begin, end, Utf8Range(least, greatest)));
  return expressions_.AnyOf(std::move(parts));
}

Expr Characters::Escapes(const CodePoints& points) {
  std::vector<Expr> escapes;
  for (char32_t point = 0; point <= '\\'; ++point) {
    const bool escaped = point < 0x20 || ShortEscape(point) != 0;
    if (escaped && Contains(points, point)) escapes.push_back(expressions_.Literal(Escape(point)));
  }
  return expressions_.AnyOf(std::move(escapes));
}

Expr Characters::AnyEscaped() {
  if (any_escaped_ != kNothing) return any_escaped_;
  Expressions& e = expressions_;
  const auto byte = [&e](char c) { return e.Literal(std::string_view(&c, 1)); };
  const auto bytes = [&e](std::string_view texts) {
    ByteSet set;
    for (const char c : texts) set.Add(static_cast<std::uint8_t>(c), static_cast<std::uint8_t>(c));
    return e.Bytes(set);
  };
  ByteSet but_d = HexDigits() - ByteSet('d', 'd') - ByteSet('D', 'D');
  const Expr hex = e.Bytes(HexDigits()), d = bytes("dD");
  const Expr basic = e.AnyOf(
      {e.Concat({e.Bytes(but_d), hex, hex, hex}), e.Concat({d, bytes("01234567"), hex, hex})});
  const Expr pair =
      e.Concat({d, bytes("89abAB"), hex, hex, e.Literal("\\u"), d, bytes("cdefCDEF"), hex, hex});
  const Expr escape = e.AnyOf({bytes("\"\\/bfnrt"), e.Concat(byte('u'), e.AnyOf({basic, pair}))});
  any_escaped_ = e.AnyOf({Utf8(Unescaped()), e.Concat(byte('\\'), escape)});
  e.MarkCoversPlain(any_escaped_);
  return any_escaped_;
}

std::string Characters::JsonBytes(std::string_view text) {
  std::string spelled;
  for (const char32_t point : ToCodePoints(text)) {
    if (point < 0x20 || ShortEscape(point) != 0) {
      spelled += Escape(point);
    } else {
      AppendUtf8(point, &spelled);
    }
  }
  return spelled;
}

Expr Characters::OtherThan(std::vector<std::u32string> texts) {
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return OtherThan(texts, 0, texts.size(), 0);
}

// What may follow the `length` characters that texts [first, last) have in common.
Expr Characters::OtherThan(const std::vector<std::u32string>& texts, std::size_t first,
                           std::size_t last, std::size_t length) {
  Expressions& e = expressions_;
  if (first == last) {
    return e.Repeat(Any(Spelling::kJson), 0, Expressions::kUnbounded);
  }
  std::vector<Expr> ways;
  if (texts[first].size() == length) {
    ++first;
  } else {
    ways.push_back(kEmptyText);
  }
  CodePoints next;
  while (first < last) {
    const char32_t point = texts[first][length];
    std::size_t end = first;
    while (end < last && texts[end][length] == point) ++end;
    ways.push_back(e.Concat(OneOf({{point, point}}, Spelling::kJson),
                            OtherThan(texts, first, end, length + 1)));
    next.emplace_back(point, point);
    first = end;
  }
  const Expr others = OneOf(Complement(Normalized(std::move(next))), Spelling::kJson);
  ways.push_back(e.Concat(others, e.Repeat(Any(Spelling::kJson), 0, Expressions::kUnbounded)));
  return e.AnyOf(std::move(ways));
}

}  // namespace thinkwire::worker::grammar
