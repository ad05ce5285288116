#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// Whether keys and values are kept in FP8: as `kv_cache_dtype` says (ModelOptions), of which "auto"
// is as config.json says that the checkpoint was measured.
// Fails: INVALID_ARGUMENT, naming what is allowed: the model has latents instead.
absl::StatusOr<bool> KeepsFp8(const std::string& kv_cache_dtype, const ModelConfig& config);

}  // namespace thinkwire::worker::model
