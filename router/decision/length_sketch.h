#pragma once

#include <array>
#include <cstddef>

#include "router/variant_traits.h"

namespace thinkwire::router::decision {

// How long outputs are, learnt as they end, in constant memory: a histogram whose buckets grow by
// 2^(1/8), so that a quantile is right to 9 %, and whose older counts fade: each length weighs
// (1 - 1/kMemory) of the next one. Begins as if kPriorWeight lengths had been seen that are spread
// log-normally through the two given points: what a configuration promises holds until experience
// outweighs it, and 40 lengths do.
// Threads: one at a time.
class LengthSketch {
 public:
  static constexpr double kMemory = 500;
  static constexpr double kPriorWeight = 20;

  // REQUIRES: 0 < prior.p50 <= prior.p90.
  explicit LengthSketch(const LengthQuantiles& prior);

  // Lengths below 1 count as 1, those over 2^20 as that.
  void Add(double tokens);

  // The length that the share `q` of all does not exceed. REQUIRES: 0 < q < 1.
  double Quantile(double q) const;
  LengthQuantiles Quantiles() const { return {Quantile(0.5), Quantile(0.9)}; }

 private:
  static constexpr std::size_t kBuckets = 161;  // the last begins at 2^20

  std::array<double, kBuckets> weights_{};
  double total_ = 0;
};

}  // namespace thinkwire::router::decision
