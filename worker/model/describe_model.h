#pragma once

#include <cstdint>

#include "worker/kernels/device.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"
#include "worker/model/model_runner.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::model {

// What is known of a model before it is loaded: all but its bytes and how long it took. Of so many
// ranks in all, on devices of these capabilities. Pure.
ModelInfo Describe(const ModelPlan& plan, const step::Limits& limits, const WeightSource& source,
                   const kernels::Capabilities& device, std::int32_t ranks);

}  // namespace thinkwire::worker::model
