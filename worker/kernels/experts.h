#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/device.h"
#include "worker/kernels/expert_router.h"
#include "worker/kernels/parts_extent.h"
#include "worker/kernels/tensor.h"
#include "worker/kernels/weights.h"

// What a mixture of experts takes. Letters as in backend.h, and P experts a token; F is one
// expert's.
namespace thinkwire::worker::kernels {

// Which experts a step's tokens have: filled by RouteExperts, read by MixExperts.
struct ExpertChoice {
  Tensor ids;      // i32 [T, P], ascending a token; -1: none, as a padding token has
  Tensor weights;  // f32 [T, P]
};

// What RouteExperts goes by.
struct Routing {
  RoutingRule rule;
  Tensor bias;    // f32 [X]: the correction bias
  Tensor logits;  // f32 [T, X]: gets the router's
};

// One rank's experts, all of one shape.
struct ExpertShape {
  std::int64_t first = 0;  // id of the first
  std::int64_t count = 0;
  std::int64_t hidden = 0;              // E
  std::int64_t ffn = 0;                 // F
  Encoding encoding = Encoding::kBf16;  // of all their matrices, or kBf16 where they differ
};

// An expert's matrices: gate and up [F, E], down [E, F].
struct ExpertSlices {
  WeightSlice gate;
  WeightSlice up;
  WeightSlice down;
};

// Experts in the backend's own layout, side by side so that one op applies any of them.
// Threads: any may read them; the backend's own sets them and uses them in ops.
class ExpertWeights {
 public:
  virtual ~ExpertWeights() = default;
  // Expert first + i, once each before the first op. Done on return.
  virtual void Set(std::int64_t i, const ExpertSlices& slices) = 0;
  virtual DeviceKind device() const = 0;  // whose ops take them
  virtual const ExpertShape& shape() const = 0;
  virtual std::size_t bytes() const = 0;  // of all
};

// What MixExperts adds up.
struct ExpertMix {
  ExpertChoice choice;
  const ExpertWeights& experts;
  Tensor shared = {};  // f32 [T, E], added last; without data: none
};

}  // namespace thinkwire::worker::kernels
