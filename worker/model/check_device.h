#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "worker/kernels/device.h"
#include "worker/model/checkpoint/model_plan.h"

// What a GPU refuses that a CPU computes, so that it is said by name before a kernel's check ends
// the process. REQUIRES, of what takes ranks: CheckSplit(plan, ranks) is OK. Threads: any. Pure.
namespace thinkwire::worker::model {

// Fails: INVALID_ARGUMENT, a GPU's products take a rank's columns of a feed-forward in eights.
absl::Status CheckColumns(const kernels::Capabilities& device, const ModelPlan& plan,
                          std::int32_t ranks);

// Fails: INVALID_ARGUMENT, what NeedsCpu names; or latents, for which the device's multiprocessors
// have too little memory.
absl::Status CheckDeviceOps(const kernels::Capabilities& device, const ModelPlan& plan);

// Fails: as CheckDeviceOps and CheckColumns.
absl::Status CheckDevice(const kernels::Capabilities& device, const ModelPlan& plan,
                         std::int32_t ranks);

}  // namespace thinkwire::worker::model
