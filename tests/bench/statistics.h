#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace thinkwire::bench {

// The value at `share` of the way from the smallest to the largest, by rank. REQUIRES: values is
// not empty, share in [0, 1].
inline double Quantile(std::vector<double> values, double share) {
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1) + 0.5);
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

// The middle one, or the mean of the two in the middle. REQUIRES: values is not empty.
inline double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace thinkwire::bench
