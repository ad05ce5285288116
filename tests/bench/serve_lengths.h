#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire::bench {

// How the lengths of prompts or outputs are spread.
class LengthDistribution {
 public:
  // What one may be written as, for a help page.
  static constexpr char kForms[] = "N, uniform:LOW,HIGH or lognormal:MEDIAN,SIGMA,HIGH";

  // Every length is in [lowest, highest]; a log-normal one is cut to [lowest, its HIGH].
  // Fails: INVALID_ARGUMENT, a part of a sentence that says what is allowed.
  static absl::StatusOr<LengthDistribution> Parse(std::string_view text, std::int32_t lowest,
                                                  std::int32_t highest);

  std::int32_t Draw(std::mt19937_64& random) const;

 private:
  LengthDistribution() = default;

  std::int32_t low_ = 0;  // equal to high_: fixed
  std::int32_t high_ = 0;
  double median_ = 0;  // above 0: log-normal, else uniform
  double sigma_ = 0;   // of the natural logarithm
};

}  // namespace thinkwire::bench
