#include "worker/engine/step_cost.h"

#include <algorithm>
#include <bit>

namespace thinkwire::worker::engine {
namespace {

// Coordinate descent from the prices before, which are nearly right: few passes do.
constexpr int kPasses = 16;

// What a price other than the base is held down by, of its own samples' weight: nothing where rows
// vary by some per cent, all where they never do.
constexpr double kRidge = 1e-3;

// A step counts as so many times the mean of its class at most, once that is of so many.
constexpr double kMostOfMean = 3;
constexpr double kStepsForMean = 4;

std::size_t ClassOf(const StepWork& work, std::size_t num_classes) {
  const auto inputs =
      static_cast<std::uint64_t>(std::max<std::int64_t>(1, work.rows + work.more_inputs));
  return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(inputs)) - 1,
                               num_classes - 1);
}

}  // namespace

StepWork& StepWork::operator+=(const StepWork& other) {
  rows += other.rows;
  more_inputs += other.more_inputs;
  context += other.context;
  return *this;
}

void StepCost::Record(const StepWork& work, Clock::Duration took) {
  const double seconds = ToSeconds(took);
  if (seconds <= 0) return;
  const Vector x = {1, static_cast<double>(work.rows), static_cast<double>(work.more_inputs),
                    static_cast<double>(work.context)};
  Sums& sums = classes_[ClassOf(work, kNumClasses)];
  const double steps = sums.squares[0][0];
  double counted = seconds;
  if (steps >= kStepsForMean) counted = std::min(counted, kMostOfMean * sums.features[0] / steps);
  constexpr double kKept = 1 - 1.0 / kMemory;
  for (std::size_t i = 0; i < kNumPrices; ++i) {
    for (std::size_t j = 0; j < kNumPrices; ++j) {
      sums.squares[i][j] = kKept * sums.squares[i][j] + x[i] * x[j];
    }
    sums.features[i] = kKept * sums.features[i] + x[i] * counted;
  }
  ++steps_;
  Solve();
}

void StepCost::Solve() {
  Sums all;
  for (const Sums& sums : classes_) {
    const double steps = sums.squares[0][0];
    if (steps == 0) continue;
    const double rate = steps / sums.features[0];  // steps a second
    for (std::size_t i = 0; i < kNumPrices; ++i) {
      for (std::size_t j = 0; j < kNumPrices; ++j) {
        all.squares[i][j] += rate * rate * sums.squares[i][j];
      }
      all.features[i] += rate * rate * sums.features[i];
    }
  }
  for (int pass = 0; pass < kPasses; ++pass) {
    for (std::size_t i = 0; i < kNumPrices; ++i) {
      if (all.squares[i][i] <= 0) continue;
      double rest = all.features[i];
      for (std::size_t j = 0; j < kNumPrices; ++j) {
        if (j != i) rest -= all.squares[i][j] * prices_[j];
      }
      prices_[i] = std::max(0.0, rest / (all.squares[i][i] * (i == 0 ? 1 : 1 + kRidge)));
    }
  }
}

StepCost::Prices StepCost::prices() const {
  if (!known()) return {};
  return {.base = prices_[0], .row = prices_[1], .input = prices_[2], .position = prices_[3]};
}

double StepCost::Of(const StepWork& work) const {
  const Prices price = prices();
  return price.row * static_cast<double>(work.rows) +
         price.input * static_cast<double>(work.more_inputs) +
         price.position * static_cast<double>(work.context);
}

}  // namespace thinkwire::worker::engine
