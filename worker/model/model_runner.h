#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/kernels/backend.h"
#include "worker/parallel/communicator.h"
#include "worker/parallel/step_channel.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

struct ModelOptions {
  std::filesystem::path model_dir;        // config.json, and weights unless random
  bool random_weights = false;            // seeded noise in the config's shapes
  std::uint64_t seed = 0;                 // of the random weights
  std::string device = "auto";            // "auto", "cpu" or "cuda"
  std::int32_t tensor_parallel_size = 1;  // ranks
  std::int32_t cpu_threads = 0;           // over all ranks; 0: one a core
  std::int32_t max_model_len = 0;         // tokens a sequence; 0: the config's limit
  std::int32_t max_num_seqs = 16;         // slots
  std::int32_t max_num_batched_tokens = 512;
  std::int64_t kv_cache_memory_bytes = 0;  // 0: chosen from what the machine or its GPUs have
  // Share of a GPU's memory that is free at the start which weights, workspace and KV may take.
  double gpu_memory_utilization = 0.9;
  std::int32_t block_tokens = 16;  // tokens a KV block, a multiple of 16
  std::int32_t max_in_flight = 2;  // D
  bool stamp_steps = false;        // for ModelRunner::TakeStepGaps
  // Ids that the tokenizer defines, [1, vocab_size]; 0: vocab_size. Rows of the head from here on
  // are padding and are never drawn.
  std::int32_t num_token_ids = 0;
  std::string fault;  // ParseFault's text: how to fail on purpose; empty: not
};

// What the rest of the worker wants to know of a loaded model.
struct ModelInfo {
  std::string architecture;                       // "Qwen2ForCausalLM", "LlamaForCausalLM"
  std::vector<std::int32_t> end_of_sequence_ids;  // config.json and generation_config.json
  std::int64_t parameters = 0;
  std::int64_t weight_bytes = 0;            // all ranks
  std::int64_t weight_bytes_per_token = 0;  // of them read to decode one token at batch 1
  std::int64_t kv_cache_tokens = 0;
  double warm_up_seconds = 0;  // from the weights' being there to the first step's being taken
  std::string stored_weights;  // "BF16", "F32" (computed in bf16 all the same), "random"
  std::string device;          // "cpu avx512 2 threads"
  std::string fingerprint;     // equal fingerprints give equal text
};

// Brings plans from whoever plans to every rank.
using PlanChannel = parallel::StepChannel<step::Plan>;

// A loaded model that computes steps: one thread a rank.
class ModelRunner : public step::Runner {
 public:
  virtual const ModelInfo& info() const = 0;

  // For each step collected since the last call, in order: seconds that rank 0's device waited
  // between computing the step before and it (StepStamps). Empty without stamp_steps.
  virtual std::vector<double> TakeStepGaps() = 0;
};

// Checks and loads the checkpoint and starts the rank threads, which take their plans from `plans`.
// REQUIRES: a channel to tensor_parallel_size ranks.
// Fails: one sentence that names the file, the key or tensor, and the limit.
absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options,
                                                       std::unique_ptr<PlanChannel> plans);

// What a model runs on: one of each a rank, in rank order.
struct Devices {
  std::vector<std::unique_ptr<kernels::Backend>> backends;
  std::vector<std::unique_ptr<parallel::Communicator>> communicators;
};

// LoadModel on devices that are open. REQUIRES: tensor_parallel_size of each.
absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options,
                                                       std::unique_ptr<PlanChannel> plans,
                                                       Devices devices);

}  // namespace thinkwire::worker::model
