#include "common/shown_number.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/strings/str_cat.h"

namespace thinkwire {
namespace {

constexpr double kMaxWhole = 1e15;  // beyond, digits say more than is known

template <class Number>
std::string Shortest(Number value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

}  // namespace

std::string ShownNumber(double value) {
  if (std::trunc(value) == value && std::abs(value) <= kMaxWhole) {
    return absl::StrCat(static_cast<std::int64_t>(value));
  }
  if (std::abs(value) > std::numeric_limits<float>::max()) return Shortest(value);
  const float rounded = static_cast<float>(value);
  return rounded == value ? Shortest(rounded) : Shortest(value);
}

}  // namespace thinkwire
