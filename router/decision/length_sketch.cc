#include "router/decision/length_sketch.h"

#include <algorithm>
#include <cmath>

#include "router/decision/normal.h"

namespace thinkwire::router::decision {
namespace {

constexpr double kBucketsPerOctave = 8;
constexpr double kMaxLog2 = 20;

std::size_t BucketOf(double tokens) {
  const double log2 = std::clamp(std::log2(std::max(tokens, 1.0)), 0.0, kMaxLog2);
  return static_cast<std::size_t>(log2 * kBucketsPerOctave);
}

// In log2 of tokens.
double LowerEdge(std::size_t bucket) { return static_cast<double>(bucket) / kBucketsPerOctave; }

}  // namespace

LengthSketch::LengthSketch(const LengthQuantiles& prior) {
  const double mean = std::log2(prior.p50);
  const double deviation = std::max((std::log2(prior.p90) - mean) / kZ90, 0.05);
  const auto below = [&](std::size_t bucket) {
    if (bucket == 0) return 0.0;
    return bucket == kBuckets ? 1.0 : NormalCdf((LowerEdge(bucket) - mean) / deviation);
  };
  for (std::size_t i = 0; i < kBuckets; ++i) weights_[i] = kPriorWeight * (below(i + 1) - below(i));
  total_ = kPriorWeight;
}

void LengthSketch::Add(double tokens) {
  for (double& weight : weights_) weight *= 1 - 1 / kMemory;
  weights_[BucketOf(tokens)] += 1;
  total_ = total_ * (1 - 1 / kMemory) + 1;
}

double LengthSketch::Quantile(double q) const {
  double left = q * total_;
  std::size_t bucket = 0;
  while (bucket + 1 < kBuckets && weights_[bucket] < left) left -= weights_[bucket++];
  const double inside = weights_[bucket] > 0 ? std::clamp(left / weights_[bucket], 0.0, 1.0) : 0;
  return std::exp2(LowerEdge(bucket) + inside / kBucketsPerOctave);
}

}  // namespace thinkwire::router::decision
