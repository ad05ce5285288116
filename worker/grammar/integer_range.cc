#include "worker/grammar/integer_range.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace thinkwire::worker::grammar {
namespace {

Expr Digit(char first, char last, Expressions& e) {
  return e.Bytes(ByteSet(static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(last)));
}

Expr AnyDigits(std::size_t count, Expressions& e) {
  const auto times = static_cast<std::int32_t>(count);
  return e.Repeat(Digit('0', '9', e), times, times);
}

// The numbers of equally many digits first..last.
Expr SameLength(std::string_view first, std::string_view last, Expressions& e) {
  const std::size_t rest = first.size() - 1;
  if (rest == 0) return Digit(first[0], last[0], e);
  if (first[0] == last[0]) {
    return e.Concat(Digit(first[0], first[0], e), SameLength(first.substr(1), last.substr(1), e));
  }
  char low = first[0], high = last[0];
  std::vector<Expr> ways;
  if (first.find_first_not_of('0', 1) != std::string_view::npos) {
    const Expr above = SameLength(first.substr(1), std::string(rest, '9'), e);
    ways.push_back(e.Concat(Digit(low, low, e), above));
    ++low;
  }
  if (last.find_first_not_of('9', 1) != std::string_view::npos) {
    const Expr below = SameLength(std::string(rest, '0'), last.substr(1), e);
    ways.push_back(e.Concat(Digit(high, high, e), below));
    --high;
  }
  if (low <= high) ways.push_back(e.Concat(Digit(low, high, e), AnyDigits(rest, e)));
  return e.AnyOf(std::move(ways));
}

// 0 <= first <= last
Expr Natural(std::int64_t first, std::int64_t last, Expressions& e) {
  std::vector<Expr> ways;
  for (std::int64_t power = 1; first <= last; power *= 10) {
    const std::int64_t longest = power * 10 - 1;
    if (first > longest) continue;
    const std::int64_t end = std::min(last, longest);
    ways.push_back(SameLength(std::to_string(first), std::to_string(end), e));
    first = end + 1;
    if (longest >= kMaxAnswerInteger) break;
  }
  return e.AnyOf(std::move(ways));
}

}  // namespace

Expr IntegerRange(std::int64_t first, std::int64_t last, Expressions& expressions) {
  std::vector<Expr> ways;
  if (last >= 0) ways.push_back(Natural(std::max<std::int64_t>(first, 0), last, expressions));
  if (first < 0) {
    const std::int64_t least = std::max<std::int64_t>(-last, 1);
    ways.push_back(
        expressions.Concat(expressions.Literal("-"), Natural(least, -first, expressions)));
  }
  return expressions.AnyOf(std::move(ways));
}

}  // namespace thinkwire::worker::grammar
