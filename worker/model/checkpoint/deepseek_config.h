#pragma once

#include "absl/status/status.h"
#include "worker/model/checkpoint/config_reader.h"
#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// Reads the keys that a config.json of "deepseek_v3" has beyond those of all families: its latent
// attention and its experts, as transformers reads them. head_dim becomes the width of what is
// rotated, whatever the file says of it. No default of transformers stands in for a size that is
// missing. REQUIRES: the sizes that all families have, and the rotation, are in `config`.
// Fails: INVALID_ARGUMENT, naming key, value and what is supported.
absl::Status ReadDeepseek(const ConfigReader& reader, ModelConfig& config);

}  // namespace thinkwire::worker::model
