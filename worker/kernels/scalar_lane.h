#pragma once

#include <bit>
#include <cstdint>

#include "worker/kernels/host_device.h"

namespace thinkwire::worker::kernels {

// One f32 lane for the templates over lanes that single values need.
struct ScalarLane {
  float x;

  HOST_DEVICE static ScalarLane Set(float x) { return {x}; }
  HOST_DEVICE static ScalarLane Fma(ScalarLane a, ScalarLane b, ScalarLane c) {
    return {__builtin_fmaf(a.x, b.x, c.x)};
  }
  HOST_DEVICE static ScalarLane Add(ScalarLane a, ScalarLane b) { return {a.x + b.x}; }
  HOST_DEVICE static ScalarLane Sub(ScalarLane a, ScalarLane b) { return {a.x - b.x}; }
  HOST_DEVICE static ScalarLane Mul(ScalarLane a, ScalarLane b) { return {a.x * b.x}; }
  HOST_DEVICE static ScalarLane Max(ScalarLane a, ScalarLane b) { return a.x > b.x ? a : b; }
  HOST_DEVICE static ScalarLane Min(ScalarLane a, ScalarLane b) { return a.x < b.x ? a : b; }
  HOST_DEVICE static ScalarLane ZeroWhereLess(ScalarLane x, ScalarLane bound, ScalarLane value) {
    return {x.x < bound.x ? 0.0F : value.x};
  }
  HOST_DEVICE static ScalarLane Pow2OfLowBits(ScalarLane z) {
    return {std::bit_cast<float>((std::bit_cast<std::uint32_t>(z.x) << 23) + 0x3F800000U)};
  }
};

}  // namespace thinkwire::worker::kernels
