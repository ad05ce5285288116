#include "worker/grammar/json_text.h"

namespace thinkwire::worker::grammar {
namespace {

constexpr std::int32_t kMaxIndent = 40;
constexpr std::int32_t kMaxLeadingLineEnds = 2;
constexpr std::int32_t kMaxDigits = 16;
constexpr std::int32_t kMaxExponentDigits = 2;

Expr NumberOf(Expressions& e) {
  const Expr digit = e.Bytes(ByteSet('0', '9')), first = e.Bytes(ByteSet('1', '9'));
  const Expr whole = e.AnyOf({e.Literal("0"), e.Concat(first, e.Repeat(digit, 0, kMaxDigits - 1))});
  const Expr fraction = e.Concat(e.Literal("."), e.Repeat(digit, 1, kMaxDigits));
  const Expr exponent = e.Concat({e.AnyOf({e.Literal("e"), e.Literal("E")}),
                                  e.Optional(e.AnyOf({e.Literal("+"), e.Literal("-")})),
                                  e.Repeat(digit, 1, kMaxExponentDigits)});
  return e.Concat({e.Optional(e.Literal("-")), whole, e.Optional(fraction), e.Optional(exponent)});
}

}  // namespace

JsonText::JsonText(Expressions& expressions, Characters& characters)
    : expressions_(expressions), characters_(characters) {
  Expressions& e = expressions;
  const Expr blank = e.Literal(" ");
  quote_ = e.Literal("\"");
  comma_ = e.Literal(",");
  space_ = e.AnyOf({kEmptyText, blank, e.Concat(e.Literal("\n"), e.Repeat(blank, 0, kMaxIndent))});
  colon_ = e.Concat({e.Optional(blank), e.Literal(":"), e.Optional(blank)});
  begin_ = e.Repeat(e.Literal("\n"), 0, kMaxLeadingLineEnds);
  number_ = NumberOf(e);
}

Expr JsonText::Member(Expr key, Expr value) const {
  return expressions_.Concat({key, colon_, value});
}

Expr JsonText::Key(const std::string& name) const { return Quoted(characters_.JsonText(name)); }

Expr JsonText::Enclosed(char opener, Expr inside, bool may_be_empty, char closer) const {
  Expr filled = expressions_.Concat(space_, inside);
  if (may_be_empty) filled = expressions_.Optional(filled);
  return expressions_.Concat(
      {expressions_.Literal(std::string(1, opener)), filled, space_, expressions_.Closer(closer)});
}

Expr JsonText::Array(Expr elements, bool may_be_empty) const {
  return Enclosed('[', elements, may_be_empty, ']');
}

Expr JsonText::Object(Expr members, bool may_be_empty) const {
  return Enclosed('{', members, may_be_empty, '}');
}

Expr JsonText::Joined(const std::vector<Expr>& elements) const {
  Expr joined = kEmptyText;
  for (auto element = elements.rbegin(); element != elements.rend(); ++element) {
    joined = expressions_.Concat(*element, joined == kEmptyText ? joined : Then(joined));
  }
  return joined;
}

Expr JsonText::Value(const SchemaJson& value) const {
  if (value.is_string()) return Key(value.get_ref<const std::string&>());
  if (!value.is_structured()) return expressions_.Literal(value.dump());
  std::vector<Expr> elements;
  for (const auto& [name, element] : value.items()) {
    elements.push_back(value.is_object() ? Member(Key(name), Value(element)) : Value(element));
  }
  const bool empty = elements.empty();
  const Expr joined = Joined(elements);
  return value.is_object() ? Object(joined, empty) : Array(joined, empty);
}

}  // namespace thinkwire::worker::grammar
