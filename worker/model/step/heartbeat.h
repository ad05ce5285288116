#pragma once

#include <atomic>
#include <cstdint>

#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// Where a rank is, for whoever watches it. A beat is one relaxed store.
// Threads: Step and Layer on the rank's, Read on any.
class Heartbeat {
 public:
  // The rank begins with `step`.
  void Step(std::uint64_t step) { Store(step << kLayerBits); }

  // It begins with its step's layer `layer`, counted from 1; one more than there are: the head.
  void Layer(std::uint64_t layer) { Store((Load() & ~kLayerMask) | layer); }

  step::RankBeat Read() const {
    const std::uint64_t place = Load();
    return {.step = place >> kLayerBits, .layer = static_cast<std::int32_t>(place & kLayerMask)};
  }

 private:
  static constexpr int kLayerBits = 16;  // the other 48 count steps for millennia
  static constexpr std::uint64_t kLayerMask = (std::uint64_t{1} << kLayerBits) - 1;

  void Store(std::uint64_t place) { place_.store(place, std::memory_order_relaxed); }
  std::uint64_t Load() const { return place_.load(std::memory_order_relaxed); }

  std::atomic<std::uint64_t> place_ = 0;
};

}  // namespace thinkwire::worker::model
