#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "worker/kernels/tensor.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// The memory that the ranks of a model get, and how.
struct MemoryOffer {
  // Free on each rank's own device; 0: all ranks share the host's memory.
  std::int64_t device_bytes = 0;
  double utilization = 0.9;                // share of device_bytes that may be taken, 0 to 1
  std::int64_t kv_cache_memory_bytes = 0;  // over all ranks; 0: chosen
  std::int32_t ranks = 1;
  kernels::DType dtype = kernels::DType::kF32;  // of keys and values
};

// Blocks of the KV cache: on devices what weights, workspace and a fixed reserve (recorded steps,
// the libraries' own memory) leave, in the host's memory what ChooseNumBlocks says of it.
// `limits` without num_blocks.
// Fails: INVALID_ARGUMENT not one block fits, or kv_cache_memory_bytes does not; with the numbers
// and what would help.
absl::StatusOr<std::int32_t> ChooseBlocks(const ModelConfig& config, const step::Limits& limits,
                                          const MemoryOffer& offer);

}  // namespace thinkwire::worker::model
