#include "tests/integration/memory_growth.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <ratio>
#include <span>

namespace thinkwire::integration {
namespace {

// By how much it grew, by least squares over all but the first fifth, in MB an hour.
double Slope(std::span<const MemorySample> samples) {
  samples = samples.subspan(samples.size() / 5);
  double mean_h = 0;
  double mean_mb = 0;
  const auto hours = [&](const MemorySample& sample) {
    return std::chrono::duration<double, std::ratio<3600>>(sample.at - samples.front().at).count();
  };
  const auto megabytes = [](const MemorySample& sample) {
    return static_cast<double>(sample.bytes) / 1e6;
  };
  for (const MemorySample& sample : samples) {
    mean_h += hours(sample) / static_cast<double>(samples.size());
    mean_mb += megabytes(sample) / static_cast<double>(samples.size());
  }
  double both = 0;
  double square = 0;
  for (const MemorySample& sample : samples) {
    both += (hours(sample) - mean_h) * (megabytes(sample) - mean_mb);
    square += (hours(sample) - mean_h) * (hours(sample) - mean_h);
  }
  return both / square;
}

}  // namespace

void CheckGrowth(const std::vector<MemorySample>& samples) {
  if (samples.size() < 10) return;
  const double slope = Slope(samples);
  std::printf(
      "the router's memory: %.1f MB after the first fault, %.1f MB in the end, %+.2f MB/h\n",
      static_cast<double>(samples.front().bytes) / 1e6,
      static_cast<double>(samples.back().bytes) / 1e6, slope);
  if (samples.back().at - samples.front().at < std::chrono::minutes(55)) return;
  EXPECT_LT(slope, 1.0);
}

}  // namespace thinkwire::integration
