#include "tests/bench/serve_lengths.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace thinkwire::bench {
namespace {

constexpr double kMaxSigma = 10;

}  // namespace

absl::StatusOr<LengthDistribution> LengthDistribution::Parse(std::string_view text,
                                                             std::int32_t lowest,
                                                             std::int32_t highest) {
  const absl::Status wrong = absl::InvalidArgumentError(absl::StrCat(
      "'", std::string(text), "' is not ", kForms, " with lengths from ", lowest, " to ", highest));
  absl::string_view rest(text.data(), text.size());
  const bool uniform = absl::ConsumePrefix(&rest, "uniform:");
  const bool lognormal = !uniform && absl::ConsumePrefix(&rest, "lognormal:");
  std::vector<double> numbers;
  for (const absl::string_view part : absl::StrSplit(rest, ',')) {
    double number = 0;
    if (!absl::SimpleAtod(part, &number) || !std::isfinite(number)) return wrong;
    numbers.push_back(number);
  }
  if (numbers.size() != (lognormal ? 3U : uniform ? 2U : 1U)) return wrong;

  LengthDistribution lengths;
  const auto is_length = [&](double number) {
    return number >= lowest && number <= highest && number == std::floor(number);
  };
  const double first = numbers.front();
  const double last = numbers.back();
  if (!is_length(last)) return wrong;
  lengths.high_ = static_cast<std::int32_t>(last);
  if (lognormal) {
    if (!(first > 0) || !(numbers[1] > 0 && numbers[1] <= kMaxSigma)) return wrong;
    lengths.low_ = lowest;
    lengths.median_ = first;
    lengths.sigma_ = numbers[1];
  } else {
    if (!is_length(first) || first > last) return wrong;
    lengths.low_ = static_cast<std::int32_t>(first);
  }
  return lengths;
}

std::int32_t LengthDistribution::Draw(std::mt19937_64& random) const {
  if (median_ <= 0) return std::uniform_int_distribution<std::int32_t>(low_, high_)(random);
  std::lognormal_distribution<double> drawn(std::log(median_), sigma_);
  const double length = std::clamp<double>(std::round(drawn(random)), low_, high_);
  return static_cast<std::int32_t>(length);
}

}  // namespace thinkwire::bench
