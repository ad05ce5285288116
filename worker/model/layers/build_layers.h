#pragma once

#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/layer_part.h"

namespace thinkwire::worker::model {

// A part, with the norm that makes its input.
struct NormedPart {
  kernels::Buffer norm;  // bf16 [E]
  std::unique_ptr<LayerPart> part;
};

using Layer = std::vector<NormedPart>;  // in the order in which they run

// The plan's layers, loaded. The one place that knows which class computes which kind of part.
std::vector<Layer> BuildLayers(const ModelPlan& plan, const PartPlace& place);

}  // namespace thinkwire::worker::model
