#pragma once

#include <cmath>

namespace thinkwire::router::decision {

// Of the standard normal distribution.
inline constexpr double kZ75 = 0.6744897501960817;  // the quantile at 0.75
inline constexpr double kZ90 = 1.2815515655446004;  // the quantile at 0.9
inline double NormalCdf(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

}  // namespace thinkwire::router::decision
