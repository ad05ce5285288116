#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "common/clock.h"

namespace thinkwire::worker::engine {

// What a step computes, as far as its time depends on it.
struct StepWork {
  std::int64_t rows = 0;
  std::int64_t more_inputs = 0;  // beyond the first of each row: prompts, mostly
  std::int64_t context = 0;      // positions that its inputs look back at, summed over them

  // Of one row of `count` >= 1 inputs.
  static constexpr StepWork OfRow(std::int64_t first_position, std::int64_t count) {
    return {.rows = 1,
            .more_inputs = count - 1,
            .context = count * first_position + count * (count - 1) / 2};
  }
  StepWork& operator+=(const StepWork& other);
};

// How long a step takes on this device with this model, learnt from those that came back:
//
//   seconds = base + row * rows + input * more_inputs + position * context
//
// by least squares, with no price below zero. Steps are kept apart by how many inputs they have, in
// powers of two. A class weighs by the inverse of its mean time, so that short steps count as much
// as long ones, and forgets its older ones as it gets newer (a 1/kMemory part a step): what a step
// of one row takes is still known after an hour of full ones. Where the steps seen do not tell one
// price from another, as their rows were equally many, all is put down to the base: rows count as
// free until the opposite was seen.
//
// A step that was held up, by other processes say, counts as three times its class's mean at most.
// One that was collected late makes the next one short, so that times are right in the mean alone.
// Cost: some 500 multiplications a Record. Memory: fixed. Threads: the engine thread. Pure: reads
// no clock.
class StepCost {
 public:
  static constexpr int kMemory = 32;      // steps of a class, until one counts 1/e
  static constexpr int kFirstKnown = 32;  // steps, before which nothing is said

  struct Prices {  // seconds
    double base = 0;
    double row = 0;
    double input = 0;
    double position = 0;
  };

  // A step took so long on the device. Ignored if not > 0: a clock too coarse for it.
  void Record(const StepWork& work, Clock::Duration took);

  bool known() const { return steps_ >= kFirstKnown; }

  // Zeros until they are known.
  Prices prices() const;
  double base() const { return prices().base; }
  // What `work` adds to a step, seconds.
  double Of(const StepWork& work) const;

 private:
  static constexpr std::size_t kNumPrices = 4;
  static constexpr std::size_t kNumClasses = 24;  // of 2^k inputs and more
  using Vector = std::array<double, kNumPrices>;

  // Sums over steps of features x that took t seconds: the best prices p have, weighted,
  // sum x x^T p = sum x t.
  struct Sums {
    std::array<Vector, kNumPrices> squares = {};
    Vector features = {};  // times t
  };

  void Solve();

  std::array<Sums, kNumClasses> classes_ = {};
  Vector prices_ = {};
  std::int64_t steps_ = 0;
};

}  // namespace thinkwire::worker::engine
