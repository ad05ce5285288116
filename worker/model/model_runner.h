#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// What the rest of the worker wants to know of a loaded model.
struct ModelInfo {
  std::string architecture;                       // "Qwen2ForCausalLM", "DeepseekV3ForCausalLM"
  std::vector<std::int32_t> end_of_sequence_ids;  // the checkpoint's
  std::vector<std::string> warnings;              // what its files say that is not obeyed
  std::int64_t parameters = 0;
  std::int64_t weight_bytes = 0;            // on the devices of all ranks
  std::int64_t host_embedding_bytes = 0;    // in this host's memory instead, over its ranks
  std::int64_t weight_bytes_per_token = 0;  // of them read to decode one token at batch 1
  std::int64_t kv_cache_tokens = 0;
  std::int64_t kv_cache_bytes = 0;  // all ranks
  std::string kv_cache_dtype;       // "f32", "bf16", "fp8_e4m3"
  double warm_up_seconds = 0;       // from the weights' being there to the first step's being taken
  std::string stored_weights;       // "BF16", "F32" (computed in bf16 all the same), "random"
  std::string device;               // "cpu avx512 2 threads"
  std::string fingerprint;          // equal fingerprints give equal text
};

// A loaded model that computes steps: one thread a rank.
class ModelRunner : public step::Runner {
 public:
  virtual const ModelInfo& info() const = 0;

  // For each step collected since the last call, in order: seconds that rank 0's device waited
  // between computing the step before and it (StepStamps). Empty without stamp_steps.
  virtual std::vector<double> TakeStepGaps() = 0;
};

}  // namespace thinkwire::worker::model
