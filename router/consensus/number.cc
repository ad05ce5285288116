#include "router/consensus/number.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "router/consensus/units.h"

namespace thinkwire::router::consensus {
namespace {

using std::string_view;

constexpr std::size_t kMaxDigits = 18;  // of what is calculated with, in 64 bits
constexpr std::int64_t kMaxExponent = 30;

bool IsDigitAt(string_view text, std::size_t at) {
  return at < text.size() && absl::ascii_isdigit(static_cast<unsigned char>(text[at]));
}

bool Consume(string_view what, string_view& text) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

// Digits at the begin, which are removed.
string_view TakeDigits(string_view& text) {
  std::size_t size = 0;
  while (IsDigitAt(text, size)) ++size;
  const string_view digits = text.substr(0, size);
  text.remove_prefix(size);
  return digits;
}

bool IsGroupAt(string_view text, std::size_t at) {
  return IsDigitAt(text, at) && IsDigitAt(text, at + 1) && IsDigitAt(text, at + 2) &&
         !IsDigitAt(text, at + 3);
}

// A number without sign, as its digits before and after the point.
struct Decimal {
  std::string whole;     // without zeros at the begin
  std::string fraction;  // without zeros at the end
  bool is_whole() const { return fraction.empty(); }
  bool is_zero() const { return whole.empty() && fraction.empty(); }
};

void Trim(Decimal& decimal) {
  decimal.whole.erase(0, std::min(decimal.whole.find_first_not_of('0'), decimal.whole.size()));
  decimal.fraction.resize(decimal.fraction.find_last_not_of('0') + 1);
}

std::string Write(bool negative, const Decimal& decimal) {
  std::string text = negative && !decimal.is_zero() ? "-" : "";
  absl::StrAppend(&text, decimal.whole.empty() ? "0" : decimal.whole);
  if (!decimal.fraction.empty()) absl::StrAppend(&text, ".", decimal.fraction);
  return text;
}

// Moves the point by so many digits to the right, or to the left where it is negative.
void Shift(std::int64_t digits, Decimal& decimal) {
  const auto count = static_cast<std::size_t>(std::abs(digits));
  std::string& from = digits > 0 ? decimal.fraction : decimal.whole;
  if (digits > 0) {
    from.resize(std::max(from.size(), count), '0');
    decimal.whole += from.substr(0, count);
    from.erase(0, count);
  } else {
    if (from.size() < count) from.insert(0, count - from.size(), '0');
    decimal.fraction.insert(0, from.substr(from.size() - count));
    from.resize(from.size() - count);
  }
  Trim(decimal);
}

// Thousands may be apart: groups of three after one to three digits.
std::string TakeWhole(string_view& text) {
  std::string digits(TakeDigits(text));
  if (digits.empty() || digits.size() > 3 || text.empty()) return digits;
  const char separator = text[0];
  if (separator != ',' && separator != ' ' && separator != '_') return digits;
  while (!text.empty() && text[0] == separator && IsGroupAt(text, 1)) {
    digits += text.substr(1, 3);
    text.remove_prefix(4);
  }
  return digits;
}

// A power of ten behind a number; 0: there is none, and nothing is taken.
std::int64_t TakeExponent(string_view& text) {
  string_view rest = text;
  const bool braces = Consume("*10^{", rest);
  if (!braces && !Consume("*10^", rest) && !Consume("e", rest)) return 0;
  const bool negative = Consume("-", rest);
  if (!negative) Consume("+", rest);
  const string_view digits = TakeDigits(rest);
  if (digits.empty() || digits.size() > 2 || (braces && !Consume("}", rest))) return 0;
  const std::int64_t power = std::atoll(std::string(digits).c_str());
  if (power > kMaxExponent) return 0;
  text = rest;
  return negative ? -power : power;
}

std::optional<Decimal> TakeDecimal(string_view& text) {
  string_view rest = text;
  Decimal decimal{.whole = TakeWhole(rest), .fraction = {}};
  const bool has_whole = !decimal.whole.empty();
  if (!rest.empty() && rest[0] == '.' && (has_whole || IsDigitAt(rest, 1))) {
    rest.remove_prefix(1);
    decimal.fraction = TakeDigits(rest);
  } else if (!has_whole) {
    return std::nullopt;
  }
  Trim(decimal);
  if (const std::int64_t exponent = TakeExponent(rest); exponent != 0) Shift(exponent, decimal);
  text = rest;
  return decimal;
}

bool TakeSign(string_view& text) {
  const bool negative = Consume("-", text);
  if (!negative) Consume("+", text);
  return negative;
}

// A fraction of whole numbers, in lowest terms once reduced.
struct Ratio {
  std::int64_t numerator = 0;  // >= 0
  std::int64_t denominator = 1;
};

// nullopt: it has too many digits.
std::optional<Ratio> RatioOf(const Decimal& decimal) {
  const std::size_t places = decimal.fraction.size();
  const std::string digits = decimal.whole + decimal.fraction;
  if (digits.size() > kMaxDigits) return std::nullopt;
  Ratio ratio{.numerator = digits.empty() ? 0 : std::atoll(digits.c_str())};
  for (std::size_t i = 0; i < places; ++i) ratio.denominator *= 10;
  return ratio;
}

// nullopt: it does not fit.
std::optional<std::int64_t> Product(std::int64_t one, std::int64_t other) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(one, other, &product)) return std::nullopt;
  return product;
}

std::optional<Ratio> Quotient(Ratio one, Ratio other) {
  if (other.numerator == 0) return std::nullopt;
  const auto numerator = Product(one.numerator, other.denominator);
  const auto denominator = Product(one.denominator, other.numerator);
  if (!numerator || !denominator) return std::nullopt;
  const std::int64_t divisor = std::gcd(*numerator, *denominator);
  return Ratio{.numerator = *numerator / divisor, .denominator = *denominator / divisor};
}

// As a decimal, if it is one of at most kMaxDigits digits, else as a fraction.
std::string Write(bool negative, Ratio ratio) {
  std::int64_t numerator = ratio.numerator;
  std::int64_t denominator = ratio.denominator;
  std::size_t places = 0;
  while (denominator > 1 && places < kMaxDigits) {
    const std::int64_t divisor = std::gcd(denominator, std::int64_t{10});
    const auto scaled = Product(numerator, 10 / divisor);
    if (divisor == 1 || !scaled) break;
    numerator = *scaled;
    denominator /= divisor;
    ++places;
  }
  if (denominator > 1) {
    return absl::StrCat(negative && ratio.numerator > 0 ? "-" : "", ratio.numerator, "/",
                        ratio.denominator);
  }
  std::string digits = absl::StrCat(numerator);
  if (digits.size() < places) digits.insert(0, places - digits.size(), '0');
  Decimal decimal{.whole = digits.substr(0, digits.size() - places),
                  .fraction = digits.substr(digits.size() - places)};
  Trim(decimal);
  return Write(negative, decimal);
}

struct Fraction {
  bool negative = false;
  Ratio ratio;
};

// "-12.5", and nothing else.
std::optional<Fraction> ReadSimple(string_view text) {
  const bool negative = TakeSign(text);
  const std::optional<Decimal> decimal = TakeDecimal(text);
  if (!decimal || !text.empty()) return std::nullopt;
  const std::optional<Ratio> ratio = RatioOf(*decimal);
  if (!ratio) return std::nullopt;
  return Fraction{.negative = negative, .ratio = *ratio};
}

std::optional<Fraction> Divide(const std::optional<Fraction>& one,
                               const std::optional<Fraction>& other) {
  if (!one || !other) return std::nullopt;
  const std::optional<Ratio> ratio = Quotient(one->ratio, other->ratio);
  if (!ratio) return std::nullopt;
  return Fraction{.negative = one->negative != other->negative, .ratio = *ratio};
}

// \frac{a}{b} of numbers.
std::optional<Fraction> TakeFrac(string_view& text) {
  string_view rest = text;
  if (!Consume("\\frac{", rest)) return std::nullopt;
  const std::size_t middle = rest.find("}{");
  if (middle == rest.npos) return std::nullopt;
  const std::size_t end = rest.find('}', middle + 2);
  if (end == rest.npos) return std::nullopt;
  const auto fraction = Divide(ReadSimple(rest.substr(0, middle)),
                               ReadSimple(rest.substr(middle + 2, end - middle - 2)));
  if (fraction) text = rest.substr(end + 1);
  return fraction;
}

// "/b", of which the number before is a.
std::optional<Fraction> TakeSlash(const Decimal& numerator, string_view& text) {
  string_view rest = text;
  const std::optional<Ratio> ratio = RatioOf(numerator);
  if (!ratio || !Consume("/", rest)) return std::nullopt;
  const std::optional<Decimal> decimal = TakeDecimal(rest);
  const std::optional<Ratio> other = decimal ? RatioOf(*decimal) : std::nullopt;
  if (!other) return std::nullopt;
  auto fraction = Divide(Fraction{.negative = false, .ratio = *ratio},
                         Fraction{.negative = false, .ratio = *other});
  if (fraction) text = rest;
  return fraction;
}

// The fraction behind a whole number, "1/2" or \frac{1}{2}, with both.
std::optional<Ratio> TakeMixed(const Decimal& whole, string_view& text) {
  string_view rest = text;
  const std::optional<Ratio> ratio = RatioOf(whole);
  if (!whole.is_whole() || !ratio) return std::nullopt;
  const bool blank = Consume(" ", rest);
  std::optional<Fraction> part = TakeFrac(rest);
  if (!part && blank) {
    const std::optional<Decimal> numerator = TakeDecimal(rest);
    if (numerator) part = TakeSlash(*numerator, rest);
  }
  if (!part || part->negative) return std::nullopt;
  const auto units = Product(ratio->numerator, part->ratio.denominator);
  std::int64_t sum = 0;
  if (!units || __builtin_add_overflow(*units, part->ratio.numerator, &sum)) return std::nullopt;
  text = rest;
  return Ratio{.numerator = sum, .denominator = part->ratio.denominator};
}

// The number at the begin, which is removed.
std::optional<std::string> TakeNumber(string_view& text) {
  const bool negative = TakeSign(text);
  if (const auto fraction = TakeFrac(text)) {
    return Write(negative != fraction->negative, fraction->ratio);
  }
  const std::optional<Decimal> decimal = TakeDecimal(text);
  if (!decimal) return std::nullopt;
  if (const auto mixed = TakeMixed(*decimal, text)) return Write(negative, *mixed);
  if (const auto fraction = TakeSlash(*decimal, text)) return Write(negative, fraction->ratio);
  return Write(negative, *decimal);
}

}  // namespace

std::optional<std::string> ReadNumber(string_view text) {
  std::optional<std::string> number = TakeNumber(text);
  if (!number || text.empty()) return number;
  // "5 n" may be newtons, "5n" is an expression.
  const bool apart = Consume(" ", text);
  return (apart || text.size() > 1) && IsUnit(text) ? number : std::nullopt;
}

}  // namespace thinkwire::router::consensus
