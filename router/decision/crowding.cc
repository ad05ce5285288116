#include "router/decision/crowding.h"

#include <algorithm>

namespace thinkwire::router::decision {
namespace {

constexpr double kKept = 0.95;   // of what a stream counts, with each that follows
constexpr double kPull = 0.1;    // in streams
constexpr double kLatest = 0.2;  // of alone_s, the latest stream's part

}  // namespace

// The least of  sum (s - alone - slope * busy)^2 + kPull * (slope - growth * alone)^2.
void Crowding::Learn(double busy, double seconds_per_token, double places) {
  number_ = kKept * number_ + 1;
  busy_ = kKept * busy_ + busy;
  busy_squares_ = kKept * busy_squares_ + busy * busy;
  seconds_ = kKept * seconds_ + seconds_per_token;
  busy_seconds_ = kKept * busy_seconds_ + busy * seconds_per_token;
  const double of_alone = number_ + kPull * growth_ * growth_;
  const double mixed = busy_ - kPull * growth_;
  const double of_slope = busy_squares_ + kPull;
  const double alone = seconds_ * of_slope - busy_seconds_ * mixed;
  const double slope = busy_seconds_ * of_alone - seconds_ * mixed;
  growth_ = alone > 0 ? std::clamp(slope / alone, 1.0, std::max(places, 1.0)) : places;
  const double as_alone = seconds_per_token / Slowdown(busy);
  alone_s_ += (alone_s_ > 0 ? kLatest : 1) * (as_alone - alone_s_);
}

double Crowding::LeastAlone(double places) const {
  const double usual = number_ > 0 ? busy_ / number_ : 0;
  return Slowdown(usual) / (1 + places * usual);
}

}  // namespace thinkwire::router::decision
