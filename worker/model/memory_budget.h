#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "worker/kernels/device.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::model {

// The memory that the ranks of a model get, and how.
struct MemoryOffer {
  std::int64_t device_bytes = 0;           // free on each rank's own GPU
  std::int64_t host_bytes = 0;             // that the host can still give
  double utilization = 0.9;                // share of device_bytes that may be taken, 0 to 1
  std::int64_t kv_cache_memory_bytes = 0;  // over all ranks; 0: chosen
  std::int32_t ranks = 1;
  std::int32_t ranks_here = 0;   // of them, in this machine's memory; 0: all
  kernels::Capabilities device;  // of each rank; CPUs share the host's memory
};

// What decides the number of blocks.
struct KvCacheDemand {
  std::int64_t memory_bytes = 0;     // over all ranks; 0: choose
  std::int64_t block_bytes = 0;      // over all ranks
  std::int64_t available_bytes = 0;  // what the machine can still give
  std::int32_t block_tokens = 0;
  std::int32_t max_num_seqs = 0;
  std::int32_t max_model_len = 0;
};

// As many blocks as memory_bytes holds, but no more than all slots can fill. Where it is to be
// chosen: what all slots need for 4,096 tokens each, at most half of what is available.
// Fails: INVALID_ARGUMENT if not one block fits.
absl::StatusOr<std::int32_t> ChooseNumBlocks(const KvCacheDemand& demand);

// Blocks of the KV cache, for which the ranks here have memory, in what is left: on devices by
// weights, workspace and a reserve (recorded steps, the libraries' own memory), in the host's
// memory by weights, workspace and what all ranks have in common. `limits` without num_blocks.
// Fails: INVALID_ARGUMENT not one block fits, or kv_cache_memory_bytes does not; with the numbers
// and what would help.
absl::StatusOr<std::int32_t> ChooseBlocks(const ModelPlan& plan, const step::Limits& limits,
                                          const MemoryOffer& offer);

// Bytes of the model's embedding in bf16, of which each rank has all.
std::int64_t EmbeddingBytes(const ModelPlan& plan);

// Whether a GPU's ranks should keep the embedding in host memory (ModelPlan::host_embedding), from
// which a step reads a row a token: where the KV cache beside it on the GPU would not hold one
// sequence of max_model_len tokens, or not what kv_cache_memory_bytes asks for, and the host has
// room. `limits` without num_blocks.
bool NeedsHostEmbedding(const ModelPlan& plan, const step::Limits& limits,
                        const MemoryOffer& offer);

}  // namespace thinkwire::worker::model
