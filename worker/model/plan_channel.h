#pragma once

#include "worker/parallel/step_channel.h"
#include "worker/step/plan.h"

namespace thinkwire::worker::model {

// Brings plans from whoever plans to every rank.
using PlanChannel = parallel::StepChannel<step::Plan>;

}  // namespace thinkwire::worker::model
