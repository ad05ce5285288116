#pragma once

#include <string>

#include "absl/status/status.h"
#include "worker/model/checkpoint/model_plan.h"

namespace thinkwire::worker::model {

// The activation_dtype (ModelOptions) by which products round what they multiply weights in FP8
// with.
inline constexpr char kFp8Activations[] = "fp8_e4m3";

// Fails: INVALID_ARGUMENT if kFp8Activations is asked for and no weight is in FP8.
absl::Status CheckActivationDtype(const std::string& activation_dtype, const ModelPlan& plan);

}  // namespace thinkwire::worker::model
