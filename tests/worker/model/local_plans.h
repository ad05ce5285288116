#pragma once

#include <memory>

#include "worker/model/load_model.h"
#include "worker/parallel/local_step_channel.h"

namespace thinkwire::worker::model {

// The way of plans to a model all of whose ranks are threads of this process.
inline std::unique_ptr<PlanChannel> LocalPlans(const ModelOptions& options) {
  return std::make_unique<parallel::LocalStepChannel<step::Plan>>(options.tensor_parallel_size,
                                                                  options.max_in_flight);
}

}  // namespace thinkwire::worker::model
