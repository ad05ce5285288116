#pragma once

#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/layer_part.h"
#include "worker/model/layers/load_weight.h"
#include "worker/model/layers/scratch.h"

namespace thinkwire::worker::model {

// What parts are built from and stand on.
struct PartPlace {
  const LoadPlace& load;
  const kernels::Tensor rope;  // as Backend::QkvRopeWriteKv wants it
  Scratch& scratch;
};

// A part, with the norm that makes its input.
struct NormedPart {
  kernels::Buffer norm;  // bf16 [E]
  std::unique_ptr<LayerPart> part;
};

using Layer = std::vector<NormedPart>;  // in the order in which they run

// The plan's layers, loaded. The one place that knows which class computes which kind of part.
std::vector<Layer> BuildLayers(const ModelPlan& plan, const PartPlace& place);

}  // namespace thinkwire::worker::model
