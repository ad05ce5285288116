#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "worker/kernels/weights.h"
#include "worker/model/devices.h"
#include "worker/model/follower.h"
#include "worker/model/model_runner.h"
#include "worker/model/plan_channel.h"
#include "worker/parallel/gather.h"

namespace thinkwire::worker::model {

struct ModelOptions {
  std::filesystem::path model_dir;  // folder or file, of weights too unless random
  bool random_weights = false;      // seeded noise in the config's shapes
  std::uint64_t seed = 0;           // of the random weights
  std::int32_t num_layers = 0;      // of random weights: the first so many; 0: all
  // Of matrices, where weights are random (SetMatrixEncoding): bf16, or one of random_blocks.h for
  // shapes whose columns are whole blocks.
  kernels::Encoding random_encoding = kernels::Encoding::kBf16;
  std::string device = "auto";  // "auto", "cpu" or "cuda"
  // What the weights' must be: "none", "gguf", "awq", …; "auto": any. "fp8" makes it of weights
  // that are not packed.
  std::string quantization = "auto";
  std::int32_t tensor_parallel_size = 1;  // ranks
  // Which of them this process has, where other processes have the others.
  std::optional<parallel::GroupPlace> group;
  std::int32_t cpu_threads = 0;    // over all ranks here; 0: one a core
  std::int32_t max_model_len = 0;  // tokens a sequence; 0: the config's limit
  std::int32_t max_num_seqs = 16;  // slots
  std::int32_t max_num_batched_tokens = 512;
  std::int64_t kv_cache_memory_bytes = 0;  // 0: chosen from what the machine or its GPUs have
  // Share of a GPU's memory that is free at the start which weights, workspace and KV may take.
  double gpu_memory_utilization = 0.9;
  // Instead of that share: bytes of a GPU's memory that may be in use (DeviceConfig). 0: the share.
  std::int64_t gpu_memory_bytes = 0;
  // What weights in FP8 are multiplied with: "bfloat16", as it is computed, or "fp8_e4m3"
  // (DeviceConfig::fp8_inputs), for models that have such weights.
  std::string activation_dtype = "bfloat16";
  // "auto": FP8 where config.json's kv_cache_scheme says so, else as activations are ("bfloat16";
  // on the CPU float32); "fp8_e4m3".
  std::string kv_cache_dtype = "auto";
  // Scales of an FP8 KV cache (kv_scales.h), instead of those that the checkpoint has; empty:
  // those, or 1.
  std::filesystem::path kv_scales_file;
  std::int32_t block_tokens = 16;  // tokens a KV block, a multiple of 16
  std::int32_t max_in_flight = 2;  // D
  bool stamp_steps = false;        // for ModelRunner::TakeStepGaps
  // Ids that the tokenizer defines, at least 1; 0: vocab_size. Rows of the head from here on are
  // padding and are never drawn, nor are ids that have no row.
  std::int32_t num_token_ids = 0;
};

// The devices that LoadModel would load the model on, one a rank, with their communicators. Reads
// config.json alone. REQUIRES: all ranks are of this process. Fails: as LoadModel.
absl::StatusOr<Devices> OpenDevices(const ModelOptions& options);

// Checks and loads the checkpoint and starts the rank threads, which take their plans from `plans`.
// Where other processes have ranks too, it leads them: waits for them to come (Gather), and until
// they can take steps. REQUIRES: a channel to the ranks of this process, of which rank 0 is one.
// Fails: one sentence that names the file, the key or tensor, and the limit.
absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options,
                                                       std::unique_ptr<PlanChannel> plans);

// LoadModel on devices that are open. REQUIRES: tensor_parallel_size of each; as OpenDevices.
absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options,
                                                       std::unique_ptr<PlanChannel> plans,
                                                       Devices devices);

// The same for a process that has other ranks of a group than rank 0, which connects to its leader
// (Join) and takes the plans from there. `plans` leads to its ranks, as their numbers 0, 1, …, and
// has room for max_in_flight plans and one more. REQUIRES: options.group, without rank 0.
// Fails: likewise.
absl::StatusOr<std::unique_ptr<Follower>> LoadFollower(const ModelOptions& options,
                                                       std::unique_ptr<PlanChannel> plans);

}  // namespace thinkwire::worker::model
