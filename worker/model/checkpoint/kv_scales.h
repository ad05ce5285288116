#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/kernels/kv.h"
#include "worker/model/checkpoint/checkpoint.h"

// Where the scales of an FP8 KV cache come from: the checkpoint, or a file beside it. They are a
// layer's, and all of its heads'. Allowed are those from 1e-6 to 1e6: keys and values that e4m3
// holds with them reach 448e-6 at least.
namespace thinkwire::worker::model {

// The scales that a checkpoint has, and the tensors that they are.
struct StoredKvScales {
  std::vector<kernels::KvScales> scales;              // by layer; empty: it has none
  std::vector<const CheckpointTensor*> tensors = {};  // of `checkpoint`
};

// Looks for each layer's under the names that writers have for them, in this order:
//   self_attn.k_scale, .v_scale                          llm-compressor
//   self_attn.k_proj.k_scale, self_attn.v_proj.v_scale   ModelOpt
//   self_attn.k_proj.output_scale, .v_proj.output_scale  compressed-tensors before kv_cache_scheme
// Fails: INVALID_ARGUMENT, naming the tensor, one that is not a single number of BF16, F16 or F32
// within the range, or is missing where another layer has it.
absl::StatusOr<StoredKvScales> ReadStoredKvScales(const Checkpoint& checkpoint,
                                                  std::int64_t num_layers);

// Reads {"k_scale": [...], "v_scale": [...]}, a number a layer each.
// Fails: NOT_FOUND there is no such file; INVALID_ARGUMENT, naming file and key, for whatever else
// it holds.
absl::StatusOr<std::vector<kernels::KvScales>> ReadKvScalesFile(const std::filesystem::path& path,
                                                                std::int64_t num_layers);

}  // namespace thinkwire::worker::model
