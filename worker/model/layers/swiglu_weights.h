#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "worker/kernels/backend.h"
#include "worker/model/layers/load_weight.h"

namespace thinkwire::worker::model {

// A SwiGLU block: [2 F, E], gate then up, kGateUp; and [E, F].
struct SwiGluWeights {
  std::unique_ptr<kernels::LinearWeight> gate_up;
  std::unique_ptr<kernels::LinearWeight> down;

  std::int64_t bytes() const { return static_cast<std::int64_t>(gate_up->bytes() + down->bytes()); }
};

// `weights` are the plan's two.
inline SwiGluWeights LoadSwiGlu(std::span<const PlannedWeight, 2> weights, const LoadPlace& place) {
  return {LoadLinear(weights[0], place), LoadLinear(weights[1], place)};
}

}  // namespace thinkwire::worker::model
