#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "worker/config.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker {

// What the configuration asks of the model, whose tokenizer defines `num_token_ids`.
// REQUIRES: Validate. Fails: as GroupKey::Read, for the group's token.
absl::StatusOr<model::ModelOptions> MakeModelOptions(const WorkerConfig& config,
                                                     std::int32_t num_token_ids);

}  // namespace thinkwire::worker
